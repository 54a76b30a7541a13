/* Runs the core from a script on standard input, so that it can be compared with its twin and fuzzed under sanitizers.
 *
 *   tick MS PRESENCE EMERGENCY    rx HEX    measured STATUS OBJECT AMBIENT
 *
 * After each line: the bytes sent (hex, or -), then the gate, lamp and buzzer pins.
 * With the arguments `fuzz SEED BYTES` it feeds random bytes and random whole frames instead, and reports how many frames
 * were answered and that every limit held.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/cobs.h"
#include "../core/core.h"
#include "../core/crc.h"

static struct core core;

static void show(void)
{
    int byte = core_tx(&core);
    if (byte < 0)
        putchar('-');
    for (; byte >= 0; byte = core_tx(&core))
        printf("%02x", (unsigned)byte);
    printf(" %d%d%d\n", core_gate_pin(&core), core_lamp_pin(&core), core_buzzer_pin(&core));
}

static int script(void)
{
    static char line[8192];
    core_init(&core, 0x01020304u, 0x0A0B0C0Du, 0x55AA1234u, 0x08u);
    while (fgets(line, sizeof line, stdin)) {
        unsigned a = 0, b = 0, c = 0;
        if (sscanf(line, "tick %u %u %u", &a, &b, &c) == 3) {
            core_tick(&core, a, b != 0, c != 0);
        } else if (sscanf(line, "measured %u %u %u", &a, &b, &c) == 3) {
            core_measured(&core, (enum sensor_status)a, (uint16_t)b, (uint16_t)c);
        } else if (strncmp(line, "rx ", 3) == 0) {
            for (const char *at = line + 3; sscanf(at, "%2x", &a) == 1; at += 2)
                core_rx(&core, (uint8_t)a);
        } else {
            fprintf(stderr, "replay: cannot read: %s", line);
            return 2;
        }
        show();
    }
    return 0;
}

static unsigned long long state;

static uint32_t rnd(void) /* xorshift64*: the same numbers everywhere */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * 2685821657736338717ull >> 32);
}

static int fuzz(unsigned long long seed, unsigned long bytes)
{
    unsigned long answered = 0, noise_answers = 0, fed = 0;
    uint32_t ms = 0, open_since = 0;
    bool open = false;
    state = seed * 2 + 1;
    core_init(&core, 1, 2, 3, 0);
    while (fed < bytes) {
        ms += rnd() % 40u;
        core_tick(&core, ms, rnd() % 16u == 0, false);
        bool is_noise = rnd() % 2u != 0;
        if (is_noise) {
            unsigned n = rnd() % 80u;
            for (unsigned i = 0; i < n; i++)
                core_rx(&core, rnd() % 8u == 0 ? 0 : (uint8_t)rnd());
            fed += n;
        } else { /* a frame with a right CRC and anything inside */
            uint8_t plain[MAX_DECODED + 16u], encoded[MAX_DECODED + 32u];
            size_t n = 3u + rnd() % (MAX_PAYLOAD + 8u);
            for (size_t i = 0; i < n; i++)
                plain[i] = (uint8_t)rnd();
            if (rnd() % 8u != 0)
                plain[0] = LINK_VERSION;
            plain[2] = (uint8_t)(rnd() % 9u);
            if (rnd() % 2u != 0)
                n = 5u;
            uint32_t crc = crc32_of(plain, n);
            memcpy(plain + n, &crc, 4); /* little-endian hosts only, as CI is */
            size_t length = cobs_encode(plain, n + 4u, encoded);
            core_rx(&core, 0);
            for (size_t i = 0; i < length; i++)
                core_rx(&core, encoded[i]);
            core_rx(&core, 0);
            fed += length + 2u;
        }
        if (rnd() % 3u == 0)
            core_measured(&core, SENSOR_OK, (uint16_t)rnd(), (uint16_t)rnd());
        bool sent = false;
        while (core_tx(&core) >= 0)
            sent = true;
        answered += sent && !is_noise;
        noise_answers += sent && is_noise && core_period_ms(&core) == 0;
        if (core_gate_pin(&core) && !open)
            open_since = ms;
        open = core_gate_pin(&core);
        if (open && ms - open_since > GATE_MAX_MS + 40u) {
            fprintf(stderr, "replay: the gate was open for %u ms\n", ms - open_since);
            return 1;
        }
    }
    printf("bytes %lu answered %lu noise_answered %lu\n", fed, answered, noise_answers);
    return noise_answers != 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "fuzz") == 0)
        return fuzz(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    return script();
}
