// Package queue is decom's only door to NATS JetStream: it hands out scans,
// appends to and reads the ledger, publishes and reads outcomes, and creates the
// streams for all of that. It knows bytes, sequences and subjects; what a record
// means is worker/ledger's.
//
// # Safety
//
// The ledger is the only authority (protocol.md section 2), so [Ledger.Append] is
// a compare-and-set whose result is one of: won, [ErrLost], refused without effect,
// or, when its context ends first, [ErrUnknown]. An append whose answer is lost is
// settled by reading the stream's leader, never by guessing. Scans are delivered at
// least once: an ack that gets lost brings the scan again.
//
// # Concurrency
//
// A [Conn] and everything it hands out may be used from any goroutine. [Scans] and
// [Outbox] serve one fetch at a time, further callers wait. A [Ledger] refuses a
// second append while one is in flight ([ErrBusy]). Several processes may share all
// streams. Goroutines are started by Connect (those of the NATS client and of the
// embedded server) and end with Close.
//
// # MQTT
//
// With Config.MQTT the embedded server takes devices that speak MQTT 3.1.1 ([MQTT]). Its
// PUBACK proves nothing about DECOM_SCANS; [Conn.Lost] tells what went elsewhere.
//
// # When NATS is away
//
// At start [Connect] fails with [ErrUnavailable]. Later the connection comes back by
// itself, for ever; Config.OnState is told. Meanwhile every call waits until its
// context ends. While disconnected nothing is buffered: a publish fails at once and
// is known not to have left, so that nothing is sent behind the caller's back.
//
// # Errors
//
// Errors are *[Error] around the sentinels of this package, around a context's error,
// or around what NATS said.
//
// # Why
//
// 2026-11-24: an append that got no answer is repeated for as long as it takes, seldom. protocol.md
// says three times, then read on. A server whose disk was full had stored nothing, and the account
// stood still for good. The compare-and-set lets one copy in, however many there are.
//
// 2026-11-24: an outcome that shares its event id with another device's is stored under an id of its
// own (ID#ACCOUNT/seq/i). The stream's window of an hour would swallow it, and a scan would have no
// answer.
package queue
