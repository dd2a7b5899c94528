// Package packstate keeps the Redis projection of the ledger: what each pack of
// an account stands at, and the head of the ledger it was read from
// (protocol.md section 2.3). It is the second witness: no byte leaves for NMVS
// before the record that opens the attempt shows here. It is never authority;
// everything in it, except a process's halt, can be rebuilt from the ledger.
//
// # Writing
//
// [Store.Apply] is the only writer of packs and of the head, in one script that
// compares the head by sequence and hash first. So no writer can pass another,
// and none can write on top of a Redis that lost or forgot something. Scripts
// compare and write; what a record means stays in ledger.Fold. Every script may
// be repeated, because the client repeats it after a lost answer.
//
// An empty Redis accepts nothing, not even a first record: only the one who reads
// the ledger from its start calls [Store.Begin]. Synchronise is
//
//	Head -> none: Begin (Stale: another is at it, come back)
//	     -> some: read the ledger from head.Seq+1
//	then for each record, or several together: View(at head), Fold, Apply
//
// # Halt
//
// There are two: a process's own word ([Store.Halt], field "process"), which
// blocks View and Apply until [Store.Unhalt]; and the ledger's (a halt fact in an
// applied record, field "ledger"), which blocks View until a resume fact is
// applied. The second does not block Apply, or a rebuild could never get past an
// old halt to the resume behind it; so an apply may answer OK under it, and the
// View before the write (S7) is what stops the byte. Drop and Begin keep the first.
//
// # Size and speed
//
// Measured on 2 busy cores with Redis 7.0 (go test -bench . ./worker/packstate): a
// settled pack takes 44 to 46 bytes of Redis in an account of 10 to 100 million
// packs, and 68 in one of a million, whose buckets are nearly empty. View and two
// applies of 500 packs, one after the other, in two runs beside other work: 96,000
// and 125,000 packs a second, 71,000 and 82,000 with an fsync each, 26,000 and
// 27,000 in the embedded store.
//
// # Concurrency and errors
//
// All methods may be called from any goroutine and any number of processes. A
// [Status] other than OK or Same is an answer, not an error. An error means that
// nothing is known to have been written: send nothing, synchronise, go on. It
// wraps [ErrUnavailable] when the server could not be reached or is not ready,
// and [ErrValue] when a stored value cannot be read by this program.
//
// The embedded store is a miniredis inside the process, on in-memory
// connections without a port. It forgets everything at exit; see
// [Store.SaveHead] for what is left of it.
package packstate
