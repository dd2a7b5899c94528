// Package report counts what an account's ledger says of one day, or of two rolling months,
// and lays it out for people and spreadsheets. It does no I/O: records are handed to a [Reader]
// or a [Tally] in their order, and what comes out depends on them and on the day alone, so that the same
// day gives the same report for ever.
//
// # Which day a record belongs to
//
// The day ends with the first record that the stream stored at or after midnight (the day's zone,
// Europe/Paris unless somebody says otherwise), and so begins the next. One clock counts, that of the
// stream's leader: robots' clocks are wrong, and those of several workers differ. A scan of
// 23:59 whose answer came after midnight is in the next day's outcomes, and in this day's end as
// a pack on its way.
//
// # What is counted
//
// Outcomes are counted from the records that bring them (protocol.md section 7), not from
// DECOM_OUTCOMES, which is made of the same records: the ledger is never trimmed. Scans that no
// worker had taken in are on no ledger; `decom status` shows them.
//
// Everything here belongs to one goroutine.
package report
