/* The controller's whole behaviour without any hardware: bytes, milliseconds and inputs in; bytes and pins out.
 *
 * The same source runs on the ATmega328P, on the host under sanitizers, and (as a twin written in Python) in the
 * simulators. It never blocks, never allocates, and every buffer has a fixed size.
 */
#ifndef GATEHOUSE_CORE_H
#define GATEHOUSE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_VERSION 1u
#define FIRMWARE_VERSION 0x0100u /* 1.0 */

#define MAX_PAYLOAD 48u
#define MAX_DECODED (3u + MAX_PAYLOAD + 4u)
#define MAX_ENCODED (MAX_DECODED + 2u) /* the bytes between two delimiters, and one to notice a longer frame */
#define TX_BYTES 256u                  /* a power of two */

#define GATE_MAX_MS 5000u
#define GATE_MIN_MS 20u
#define GATE_REARM_MS 200u
#define LINK_SILENT_MS 2000u
#define DEBOUNCE_MS 20u
#define BUZZ_MAX_MS 2000u
#define BLINK_MS 250u

enum frame_type {
    HELLO = 0x01,
    HEARTBEAT = 0x02,
    CONFIG = 0x03,
    GATE = 0x04,
    GATE_CLOSE = 0x05,
    LAMP = 0x06,
    BUZZ = 0x07,
    REPLY = 0x80, /* added to the type of the command */
    TELEMETRY = 0xC1,
    NAK = 0xFF,
};

enum nak_reason { NAK_VERSION = 1, NAK_TYPE = 2, NAK_LENGTH = 3, NAK_RANGE = 4, NAK_SEQUENCE = 5 };

enum gate_result { GATE_OPENED = 0, GATE_IS_OPEN = 1, GATE_REARMING = 2, GATE_EMERGENCY = 3 };

enum sensor_status { SENSOR_OK = 0, SENSOR_NO_ANSWER = 1, SENSOR_BAD_PEC = 2, SENSOR_ERROR_FLAG = 3, SENSOR_NONE_YET = 4 };

/* bits of the flags byte in HEARTBEAT replies and TELEMETRY */
#define FLAG_GATE 0x01u
#define FLAG_SAFE 0x02u /* no valid frame for LINK_SILENT_MS */
#define FLAG_PRESENCE 0x04u
#define FLAG_EMERGENCY 0x08u

enum lamp { LAMP_OFF = 0, LAMP_ON = 1, LAMP_BLINK = 2 };

struct core {
    /* identity, set once */
    uint32_t build_hash, boot_nonce, unique_id;
    uint8_t reset_cause;
    /* receiver */
    uint8_t rx[MAX_ENCODED + 1];
    uint8_t rx_n;
    bool rx_too_long;
    /* the last command and its answer, to be repeated when the host repeats the command */
    bool has_last;
    uint8_t last_seq, last_type, last_reply_type, last_reply_n;
    uint8_t last_reply[MAX_PAYLOAD];
    /* sender */
    uint8_t tx[TX_BYTES];
    uint16_t tx_head, tx_tail;
    uint16_t tx_dropped;
    /* time */
    uint32_t now_ms, heard_ms;
    bool heard;
    /* gate */
    bool pulse, ever_closed;
    uint32_t pulse_from_ms, closed_ms;
    uint16_t pulse_ms;
    /* inputs, debounced */
    bool presence, emergency, raw_presence, raw_emergency;
    uint32_t presence_ms, emergency_ms;
    /* lamp, buzzer, telemetry */
    uint8_t lamp;
    uint16_t buzz_ms;
    uint32_t buzz_from_ms;
    uint16_t period_ms, counter;
};

void core_init(struct core *core, uint32_t build_hash, uint32_t unique_id, uint32_t boot_nonce, uint8_t reset_cause);

/* One byte from the line. */
void core_rx(struct core *core, uint8_t byte);

/* Time and raw inputs; call at least every 5 ms. Time may wrap. */
void core_tick(struct core *core, uint32_t now_ms, bool presence, bool emergency);

/* A measurement was made (or failed): queues one TELEMETRY frame when telemetry is on. */
void core_measured(struct core *core, enum sensor_status status, uint16_t object_raw, uint16_t ambient_raw);

/* How often the sensor is to be read, in ms; 0 = telemetry is off. */
uint16_t core_period_ms(const struct core *core);

/* The next byte to send, or -1. */
int core_tx(struct core *core);

bool core_gate_pin(const struct core *core);
bool core_lamp_pin(const struct core *core);
bool core_buzzer_pin(const struct core *core);

#endif
