// Package doors is what the doors have in common: it makes a scan event
// (contract.md section 4) out of what a sender gave, be it a JSON object, a CloudEvent
// or the bare text of a data carrier. The doors themselves are the packages below it.
//
// A door changes nothing that the sender said. It adds what is missing, an id above
// all: only with an id of its own is a scan that is sent again the same scan.
//
// Values of this package belong to one goroutine. Errors are *[scan.Malformed].
package doors
