#include "core.h"

#include <string.h>

#include "cobs.h"
#include "crc.h"

static void put16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *to, uint32_t value)
{
    put16(to, (uint16_t)value);
    put16(to + 2, (uint16_t)(value >> 16));
}

static uint16_t get16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (uint16_t)(from[1] << 8));
}

static uint32_t get32(const uint8_t *from)
{
    return get16(from) | (uint32_t)get16(from + 2) << 16;
}

static bool is_safe(const struct core *core)
{
    return !core->heard || core->now_ms - core->heard_ms >= LINK_SILENT_MS;
}

static bool is_pulse_on(const struct core *core)
{
    return core->pulse && core->now_ms - core->pulse_from_ms < core->pulse_ms;
}

bool core_gate_pin(const struct core *core)
{
    if (core->emergency)
        return true; /* wins over everything, also over a dead link */
    return is_pulse_on(core) && !is_safe(core);
}

bool core_lamp_pin(const struct core *core)
{
    bool blink = core->now_ms / BLINK_MS % 2u == 0u;
    if (is_safe(core) || core->lamp == LAMP_BLINK)
        return blink;
    return core->lamp == LAMP_ON;
}

bool core_buzzer_pin(const struct core *core)
{
    return core->buzz_ms != 0 && core->now_ms - core->buzz_from_ms < core->buzz_ms && !is_safe(core);
}

static uint8_t flags_of(const struct core *core)
{
    return (uint8_t)((core_gate_pin(core) ? FLAG_GATE : 0u) | (is_safe(core) ? FLAG_SAFE : 0u) |
                     (core->presence ? FLAG_PRESENCE : 0u) | (core->emergency ? FLAG_EMERGENCY : 0u));
}

void core_init(struct core *core, uint32_t build_hash, uint32_t unique_id, uint32_t boot_nonce, uint8_t reset_cause)
{
    memset(core, 0, sizeof *core);
    core->build_hash = build_hash;
    core->unique_id = unique_id;
    core->boot_nonce = boot_nonce;
    core->reset_cause = reset_cause;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static uint16_t tx_free(const struct core *core)
{
    return (uint16_t)(TX_BYTES - 1u - ((core->tx_head - core->tx_tail) & (TX_BYTES - 1u)));
}

static void tx_put(struct core *core, uint8_t byte)
{
    core->tx[core->tx_head] = byte;
    core->tx_head = (uint16_t)((core->tx_head + 1u) & (TX_BYTES - 1u));
}

int core_tx(struct core *core)
{
    if (core->tx_head == core->tx_tail)
        return -1;
    uint8_t byte = core->tx[core->tx_tail];
    core->tx_tail = (uint16_t)((core->tx_tail + 1u) & (TX_BYTES - 1u));
    return byte;
}

static void send(struct core *core, uint8_t seq, uint8_t type, const uint8_t *payload, uint8_t n)
{
    uint8_t plain[MAX_DECODED], encoded[MAX_DECODED + 1u];
    plain[0] = LINK_VERSION;
    plain[1] = seq;
    plain[2] = type;
    if (n != 0)
        memcpy(plain + 3, payload, n);
    put32(plain + 3 + n, crc32_of(plain, 3u + n));
    size_t length = cobs_encode(plain, 7u + n, encoded);
    if (tx_free(core) < length + 2u) {
        core->tx_dropped++; /* the host does not keep up; a whole frame is dropped, never a part of one */
        return;
    }
    tx_put(core, 0);
    for (size_t i = 0; i < length; i++)
        tx_put(core, encoded[i]);
    tx_put(core, 0);
}

static void nak(struct core *core, uint8_t seq, uint8_t type, enum nak_reason reason)
{
    uint8_t payload[2] = {type, (uint8_t)reason};
    send(core, seq, NAK, payload, sizeof payload);
}

static void answer(struct core *core, uint8_t seq, uint8_t type, const uint8_t *payload, uint8_t n)
{
    core->has_last = true;
    core->last_seq = seq;
    core->last_type = type;
    core->last_reply_type = (uint8_t)(type | REPLY);
    core->last_reply_n = n;
    if (n != 0)
        memcpy(core->last_reply, payload, n);
    send(core, seq, core->last_reply_type, payload, n);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

static void hello(struct core *core, uint8_t seq)
{
    uint8_t payload[21];
    payload[0] = LINK_VERSION; /* the versions this firmware speaks, from .. to */
    payload[1] = LINK_VERSION;
    put16(payload + 2, FIRMWARE_VERSION);
    put32(payload + 4, core->build_hash);
    put32(payload + 8, core->unique_id);
    payload[12] = core->reset_cause;
    put32(payload + 13, core->now_ms);
    put32(payload + 17, core->boot_nonce);
    core->has_last = false; /* the sequence begins anew */
    answer(core, seq, HELLO, payload, sizeof payload);
}

static void heartbeat(struct core *core, uint8_t seq)
{
    uint8_t payload[11];
    put32(payload, core->now_ms);
    put32(payload + 4, core->boot_nonce);
    payload[8] = flags_of(core);
    put16(payload + 9, core->tx_dropped);
    answer(core, seq, HEARTBEAT, payload, sizeof payload);
}

static void gate(struct core *core, uint8_t seq, uint16_t open_ms)
{
    uint8_t result = GATE_OPENED;
    if (core->emergency)
        result = GATE_EMERGENCY;
    else if (is_pulse_on(core))
        result = GATE_IS_OPEN; /* not prolonged */
    else if (core->ever_closed && core->now_ms - core->closed_ms < GATE_REARM_MS)
        result = GATE_REARMING;
    if (result == GATE_OPENED) {
        core->pulse = true;
        core->pulse_ms = open_ms;
        core->pulse_from_ms = core->now_ms;
    }
    answer(core, seq, GATE, &result, 1);
}

static void close_gate(struct core *core)
{
    if (core->pulse) {
        core->pulse = false;
        core->ever_closed = true;
        core->closed_ms = core->now_ms;
    }
}

/* The exact payload length of each command, or 0xFF when the type is unknown. */
static uint8_t payload_of(uint8_t type)
{
    switch (type) {
    case HELLO:
        return 2;
    case HEARTBEAT:
    case GATE_CLOSE:
        return 0;
    case CONFIG:
    case GATE:
    case BUZZ:
        return 2;
    case LAMP:
        return 1;
    default:
        return 0xFF;
    }
}

/* Order of acceptance: length, CRC, version, type, payload length, range. Below the CRC nothing is answered. */
static void accept(struct core *core, const uint8_t *plain, size_t n)
{
    if (n < 7u || n > MAX_DECODED)
        return;
    if (crc32_of(plain, n - 4u) != get32(plain + n - 4u))
        return;
    uint8_t seq = plain[1], type = plain[2], size = (uint8_t)(n - 7u);
    const uint8_t *payload = plain + 3;
    if (plain[0] != LINK_VERSION) {
        nak(core, seq, type, NAK_VERSION);
        return;
    }
    uint8_t expected = payload_of(type);
    if (expected == 0xFF) {
        nak(core, seq, type, NAK_TYPE);
        return;
    }
    if (size != expected) {
        nak(core, seq, type, NAK_LENGTH);
        return;
    }
    core->heard = true;
    core->heard_ms = core->now_ms;
    if (type != HELLO && core->has_last && core->last_seq == seq) {
        if (core->last_type == type)
            send(core, seq, core->last_reply_type, core->last_reply, core->last_reply_n); /* a retry: do nothing again */
        else
            nak(core, seq, type, NAK_SEQUENCE);
        return;
    }
    uint16_t value = size == 2 ? get16(payload) : 0;
    switch (type) {
    case HELLO:
        if (payload[0] > LINK_VERSION || payload[1] < LINK_VERSION) {
            nak(core, seq, type, NAK_VERSION);
            return;
        }
        hello(core, seq);
        return;
    case HEARTBEAT:
        heartbeat(core, seq);
        return;
    case CONFIG: /* telemetry period */
        if (value != 0 && (value < 50u || value > 1000u)) {
            nak(core, seq, type, NAK_RANGE);
            return;
        }
        core->period_ms = value;
        break;
    case GATE:
        if (value < GATE_MIN_MS || value > GATE_MAX_MS) {
            nak(core, seq, type, NAK_RANGE);
            return;
        }
        gate(core, seq, value);
        return;
    case GATE_CLOSE:
        close_gate(core);
        break;
    case LAMP:
        if (payload[0] > LAMP_BLINK) {
            nak(core, seq, type, NAK_RANGE);
            return;
        }
        core->lamp = payload[0];
        break;
    case BUZZ:
        if (value > BUZZ_MAX_MS) {
            nak(core, seq, type, NAK_RANGE);
            return;
        }
        core->buzz_ms = value;
        core->buzz_from_ms = core->now_ms;
        break;
    default:
        return;
    }
    answer(core, seq, type, NULL, 0);
}

void core_rx(struct core *core, uint8_t byte)
{
    if (byte != 0) {
        if (core->rx_n < MAX_ENCODED)
            core->rx[core->rx_n++] = byte;
        else
            core->rx_too_long = true;
        return;
    }
    size_t n = core->rx_n;
    bool too_long = core->rx_too_long;
    core->rx_n = 0;
    core->rx_too_long = false;
    if (n == 0 || too_long)
        return;
    accept(core, core->rx, cobs_decode(core->rx, n));
}

/* ---- time, inputs, measurements --------------------------------------------------------------------------------- */

static void debounce(bool raw, bool *last_raw, uint32_t *since_ms, bool *stable, uint32_t now_ms)
{
    if (raw != *last_raw) {
        *last_raw = raw;
        *since_ms = now_ms;
    } else if (raw != *stable && now_ms - *since_ms >= DEBOUNCE_MS) {
        *stable = raw;
    }
}

void core_tick(struct core *core, uint32_t now_ms, bool presence, bool emergency)
{
    core->now_ms = now_ms;
    debounce(presence, &core->raw_presence, &core->presence_ms, &core->presence, now_ms);
    debounce(emergency, &core->raw_emergency, &core->emergency_ms, &core->emergency, now_ms);
    if (core->pulse && (!is_pulse_on(core) || is_safe(core)))
        close_gate(core); /* for good: a link that comes back does not continue an old pulse */
    if (core->buzz_ms != 0 && now_ms - core->buzz_from_ms >= core->buzz_ms)
        core->buzz_ms = 0;
    if (core->heard && is_safe(core))
        core->heard = false; /* so that the wrap of the millisecond counter cannot bring the link back to life */
}

uint16_t core_period_ms(const struct core *core)
{
    return core->period_ms;
}

void core_measured(struct core *core, enum sensor_status status, uint16_t object_raw, uint16_t ambient_raw)
{
    if (core->period_ms == 0)
        return;
    uint8_t payload[12];
    put16(payload, core->counter++);
    put32(payload + 2, core->now_ms);
    payload[6] = (uint8_t)status;
    payload[7] = flags_of(core);
    put16(payload + 8, object_raw);
    put16(payload + 10, ambient_raw);
    send(core, 0, TELEMETRY, payload, sizeof payload);
}
