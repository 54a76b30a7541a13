/* CRC-32 as zlib computes it (frames), and CRC-8 poly 07 (SMBus packet error code of the MLX90614). */
#ifndef GATEHOUSE_CRC_H
#define GATEHOUSE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_of(const uint8_t *bytes, size_t n);
uint8_t crc8_add(uint8_t crc, uint8_t byte);

#endif
