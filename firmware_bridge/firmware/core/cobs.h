/* Consistent Overhead Byte Stuffing: any bytes without a zero, so that a zero can only be a delimiter. */
#ifndef GATEHOUSE_COBS_H
#define GATEHOUSE_COBS_H

#include <stddef.h>
#include <stdint.h>

/* Encodes n bytes (n <= 254) into out, which must hold n + 1; returns the encoded length. No delimiter is added. */
size_t cobs_encode(const uint8_t *in, size_t n, uint8_t *out);

/* Decodes in place; returns the decoded length, or 0 when the bytes are no valid encoding. */
size_t cobs_decode(uint8_t *bytes, size_t n);

#endif
