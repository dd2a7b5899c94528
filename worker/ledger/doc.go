// Package ledger is the meaning of an account's records: what they say, how they are
// chained, and what they make of packs. It does no I/O and keeps no state; everything
// may be called from any goroutine, except that a [Book] belongs to one.
//
// A record is one group commit: notes (scans disposed of), opens (attempts: claim, intent
// and permission to send in one) and facts (what became of attempts), folded in that
// order. [Fold] is the one place that knows what a record means for a pack; the pack
// state in Redis is nothing but its result. A [Book] follows the records and keeps the
// attempts that still have packs open, which is what the resolver works on.
//
//	         open              result done               open (undo)
//	FREE ------------> OPEN --------------> INACTIVE ------------------> OPEN
//	  ^    off,release |  ^ open               ^  result refused (undo)   | result done (undo)
//	  |                v  |                    +--------------------------+---> FREE
//	  +-- refused --- DUE-+        result alert, unresolved; park -> PARKED -> review
//
// A fact about an attempt changes only packs that are still open for it [B2c]. Errors
// wrap [ErrRecord]: a payload that breaks these rules was not written by this program,
// and its account must halt.
//
// # Why
//
// 2026-11-24: every record carries the pack keys of its facts. A fact names its attempt and the record
// that opened it; with the keys beside it, any reader folds a record by itself. Without them,
// projecting a tail would need the opening record of each fact, which may lie far behind the head.
//
// 2026-11-24: a verify scan does not move a pack's newest scan. It adds its id to seen and leaves last
// alone: a read must not supersede a change that was scanned before it and arrives after.
//
// 2026-11-24: facts of a bulk name up to 1,000 packs, so one attempt does too. NMVS would take
// 100,000; a record is one commit of at most 512 KiB. The client sends and reads 100,000 in one call
// all the same (bench/memory_test.go).
package ledger
