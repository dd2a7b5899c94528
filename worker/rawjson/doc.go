// Package rawjson writes and reads JSON text without reflection, for the few types that
// pass once for each pack: scan events, ledger records, outcomes. The standard library
// only.
//
// The Append functions give byte for byte what encoding/json gives, so that a type may
// change over without changing a record's hash. A [Reader] reads the usual text
// only: exact names, each once, no text that would have to be repaired. What it does not
// take is no verdict: the caller then asks encoding/json, which alone says what is wrong.
// So the two can never disagree about a message, only about speed; the users' fuzz tests
// hold them to that.
//
// A Reader is for one goroutine. What it returns is part of the text that it was given.
package rawjson
