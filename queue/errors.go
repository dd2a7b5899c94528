package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What callers branch on.
var (
	// ErrUnavailable: no server answered at start, or JetStream is off there, or it could not
	// do what Setup asked for: its disk is full, it has no leader, it did not answer in time.
	ErrUnavailable = errors.New("NATS is not available")
	// ErrDenied: a server answered and refused the credentials.
	ErrDenied = errors.New("NATS refused the credentials")
	// ErrTooOld: the server lacks what the protocol rests on.
	ErrTooOld = errors.New("the NATS server is too old")
	// ErrLocked: another process uses the directory of the embedded server.
	ErrLocked = errors.New("another process uses this directory")
	// ErrNotSetUp: a stream or consumer does not exist; `decom setup` creates it.
	ErrNotSetUp = errors.New("not set up")
	// ErrImmutable: a stream or consumer exists with a setting that cannot be changed.
	ErrImmutable = errors.New("cannot be changed")
	// ErrNoStream: no stream took the message.
	ErrNoStream = errors.New("no stream took it")
	// ErrLost: somebody else appended first (protocol.md section 2.2). Read the tail, decide anew.
	ErrLost = errors.New("another writer appended first")
	// ErrUnknown: the context ended before it was known whether the record is on
	// the ledger. It may still get there.
	ErrUnknown = errors.New("not known whether the record was appended")
	// ErrBusy: the account has an append in flight. A caller's mistake.
	ErrBusy = errors.New("an append is in flight")
	// ErrNotFound: no such record of this account.
	ErrNotFound = errors.New("no such record")
	// ErrGap: the ledger ends before a record that was there, or shows records out of order.
	ErrGap = errors.New("the ledger misses records")
	// ErrFull: the ledger takes no record: its disk, or a limit of its stream, is full. A person must make room.
	ErrFull = errors.New("the ledger takes no record, its disk or a limit of its stream is full")
	// ErrSettled: the delivery was settled before. A caller's mistake.
	ErrSettled = errors.New("already settled")
	// ErrClosed: the connection was closed by Close.
	ErrClosed = errors.New("connection closed")
)

// Error is every error of this package: what was being done, to what, and why it failed.
type Error struct {
	Op  string // "append", "fetch", ...
	On  string // subject, stream or consumer; may be empty
	Err error
}

func (e *Error) Error() string {
	if e.On == "" {
		return fmt.Sprintf("queue: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("queue: %s %s: %v", e.Op, e.On, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(op, on string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) { // its own text does not tell people what is wrong
		err = fmt.Errorf("not connected to NATS now: %w", err)
	}
	return &Error{Op: op, On: on, Err: err}
}

// JetStream error codes that nats.go has no sentinel for (nats-server errors.json).
const (
	codeClusterAway   = 10008 // no leader of the cluster
	codeNotLeader     = 10009
	codeNoResources   = 10023
	codeMaxConsumers  = 10026
	codeWrongSeq      = 10071 // R1
	codeNoCluster     = 10074 // more than one replica, but no cluster
	codeStoreFailed   = 10077 // limits reached, disk full
	codeInProcess     = 10158 // the same message id is being stored
	codeSeqNotReady   = 10163
	codeWrongSeqRepl  = 10164 // R3
	codeStreamOffline = 10118
)

// fate is what an error of one publish says about the message.
type fate int

const (
	fateUnknown fate = iota // may be stored now, later or never
	fateLost                // refused: the expected sequence is not the last
	fateNotNow              // not stored; worth trying again
	fateRefused             // not stored; trying again will not help
)

// fateOf classifies the error of a publish that expects an answer.
func fateOf(err error) fate {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch int(api.ErrorCode) {
		case codeWrongSeq, codeWrongSeqRepl:
			return fateLost
		case codeSeqNotReady, codeInProcess, codeClusterAway, codeNotLeader, codeNoResources, codeStreamOffline:
			return fateNotNow
		}
		return fateRefused
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrReconnectBufExceeded): // nothing is buffered while disconnected
		return fateNotNow
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, nats.ErrBadSubject):
		return fateRefused
	}
	return fateUnknown
}

// passing says that a request which changes nothing, or which may be repeated
// without harm, is worth repeating after err.
func passing(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrDisconnected) || fateOf(err) == fateNotNow
}
