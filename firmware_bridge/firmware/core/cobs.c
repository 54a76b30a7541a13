#include "cobs.h"

size_t cobs_encode(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t code_at = 0, to = 1;
    uint8_t code = 1;
    for (size_t i = 0; i < n; i++) {
        if (in[i] != 0) {
            out[to++] = in[i];
            code++;
        } else {
            out[code_at] = code;
            code_at = to++;
            code = 1;
        }
    }
    out[code_at] = code;
    return to;
}

size_t cobs_decode(uint8_t *bytes, size_t n)
{
    size_t from = 0, to = 0;
    while (from < n) {
        uint8_t code = bytes[from++];
        if (code == 0 || from + code - 1u > n)
            return 0;
        for (uint8_t i = 1; i < code; i++) {
            if (bytes[from] == 0)
                return 0;
            bytes[to++] = bytes[from++];
        }
        if (from < n && code != 0xFF)
            bytes[to++] = 0;
    }
    return to;
}
