// Package gs1 reads the data carrier of a medicine pack: the text a scanner sent goes in, the pack's unique
// identifier (product code, serial, batch, expiry) or one enumerated reason with a byte offset comes out.
//
// One job: to never hand out an identifier that is not printed on the pack. A wrong identifier sent to NMVS raises a
// falsification alert at the manufacturer and at the authority, so every doubt is a refusal. Nothing is trimmed, padded,
// re-cased or split where it "would fit"; the only repair is the AZERTY family of section "Keyboards" below, and only
// by proof.
//
// # Forms
//
//	]d2 + GS1 element string                     always
//	]d1 or nothing + ISO 15434 envelope          always: format 06 (IFA, PPN) and format 05 (GS1 element string)
//	element string without symbology identifier  Options.Declared
//	(01)...(21)... bracketed text                Options.Bracketed
//	https://host/01/.../10/...?17=...            Options.DigitalLink
//
// Options.Escapes converts written separators (\x1D, {GS}, <GS>, ^) first.
//
// # Keyboards
//
// A scanner that types as a US keyboard into a host with another layout mangles letters, digits and symbols. The
// symbology identifier is the fingerprint: where "]d2" arrives whole no layout moves a letter or digit. "$dé" is the
// French and Belgian family; both are undone and the text is accepted only when all valid readings are one and the same
// identifier (Result.Repaired). Any other prefix is ReasonLayout, "]D2" is ReasonCase.
//
// Options.Declared gives this protection up: without the identifier a German host (y and z change places) or a Caps
// Lock makes a perfect but wrong identifier. Set it only for devices that send bytes, not key strokes, and for files.
//
// # Concurrency and errors
//
// Everything is a pure function over read-only tables and safe for any number of goroutines. A success allocates nothing
// (except with escapes, repairs and percent signs); strings of a result are parts of the input and keep it alive. The
// one error type is *Error.
package gs1
