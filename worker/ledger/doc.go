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
package ledger
