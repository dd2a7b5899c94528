// Package nmvs speaks to the national repository (NMVS) over SOAP 1.2 and
// mutual TLS, for one account.
//
// A [Client] makes one attempt on the wire: [Client.Do] renders the [Call], asks its
// Guard when a connection is ready, writes once, reads one answer, and says in a
// [Class] what may have happened. It never retries, sleeps or logs. A [Breaker]
// stands in front with the same method and stops calls to a service that is down,
// and the whole account at the first login failure. [Operations] is the one table
// that client and simulator share.
//
// # What the classes rest on
//
// A call is [NotSent] only if not one byte of it left, and none can leave after
// Do has returned: the connection itself holds bytes back until the guard has
// passed, and is sealed when the call fails. Once bytes may have left, only a
// complete answer that names this call decides: it must be one SOAP envelope of our
// interface version, with one return code, our ClientTrxId, our serial and
// product, and nothing behind it. Everything else is [InDoubt]. Unknown return
// codes are judged by prefix ([Classify]), unknown states, reasons, elements and
// attributes are kept or skipped, never rejected.
//
// Replies are read by a scanner of our own (scanner.go): it refuses all that encoding/xml
// refuses and more, and makes no allocation for a pack. Tests hold it against encoding/xml.
//
// # Concurrency
//
// Client, Breaker and [Certificate] are safe for concurrent use. A Guard runs on
// another goroutine than its caller's, and has ended when Do returns. [Breaker.Run]
// is the only long-running method; nothing starts goroutines behind the caller's
// back but net/http, for its connections.
//
// # Errors
//
// Do fails with an *[Error], and exactly when the class is not [Class.Answered]. What a
// caller may test with errors.Is: [ErrGuard] and the guard's own error, [ErrTimeout],
// [ErrStopped], [ErrOpen], [ErrNotConfigured], [ErrCall], [ErrReply], [ErrForeign] (raise
// an alarm), [ErrTooLong]. A bad client certificate is a *[CertError]. No error tells
// a password, a serial or a part of a body.
//
// # Why
//
// 2026-11-24: NMVS's no-alert twins of wrong data give alert. contract.md section 7 says refused,
// protocol.md's table says alert and a parked pack. protocol.md wins: wrong data about a pack in hand
// is a reason to put it aside, whether or not NMVS raised the alarm itself.
package nmvs
