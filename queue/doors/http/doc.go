// Package httpdoor lets a sender that speaks HTTP and no NATS bring its scans and learn
// their outcomes. Import it by that name:
//
//	httpdoor "decom/queue/doors/http"
//
// POST /v1/scans takes one event, an array, JSON lines or bare barcode lines, and answers
// 202 only after the stream's acknowledgement. GET /v1/outcomes streams the outcomes of
// the token's device as server-sent events, resumable by stream sequence.
// GET /v1/packs/{code}/{serial} tells where one pack stands. deploy/examples/openapi.yaml
// is the reference for clients, and tested against this package.
//
// # Who may do what
//
// Every request but the health checks carries a token. A token names one site and one
// device (or every device of the site, "*"): the subject of a scan comes from the token,
// never from the body. Only SHA-256 hashes of tokens are kept; the file is read again
// when it changes, so a token is revoked without a restart.
//
// # What an answer promises
//
// 202: the stream has it, on disk, and exactly one outcome will come. 4xx: nothing of
// this item was stored, and sending it again as it is will not help. 503: it is not known to
// be stored; send it again with the same id or Idempotency-Key, and it is the same scan,
// however often it was stored.
//
// The message id under which the stream tells copies apart covers site, device, event id
// and body: two devices that number their scans alike lose nothing to each other. Within
// one process the last ids of a device are remembered, so a resend is told as duplicate
// long after the stream's window; where that memory is gone the stream stores a copy, and
// the worker knows its id.
//
// # Concurrency
//
// A [Door] may be used by any number of goroutines; Serve owns those of its server and
// ends them. Each device has its own pace and its own few places, taken before its body
// is read: a device that floods is told 429, and nobody else waits for it.
package httpdoor
