package scan

import "fmt"

// Op is what a scan event asks for (contract.md section 4). The numbers are
// stored in the pack state and never change meaning.
type Op uint8

// The operations. Zero is no operation.
const (
	Supply         Op = 1  // supplied to the public, or used
	Verify         Op = 2  // read only
	Destroy        Op = 3  // cannot be undone
	Export         Op = 4  // leaves the EU
	Sample         Op = 5  // sample for authorities
	FreeSample     Op = 6  // free sample of the maker
	Lock           Op = 7  // held back for a time
	Stolen         Op = 8  // cannot be undone
	UndoSupply     Op = 9  // back to active, as every undo
	UndoExport     Op = 10 //
	UndoSample     Op = 11 //
	UndoFreeSample Op = 12 //
	UndoLock       Op = 13 //
)

// opNames is indexed by operation, in the order of contract.md section 4.
var opNames = [...]string{
	Supply: "supply", Verify: "verify", Destroy: "destroy", Export: "export", Sample: "sample",
	FreeSample: "free_sample", Lock: "lock", Stolen: "stolen", UndoSupply: "undo_supply",
	UndoExport: "undo_export", UndoSample: "undo_sample", UndoFreeSample: "undo_free_sample", UndoLock: "undo_lock",
}

// Ops returns every operation, in the order of contract.md section 4.
func Ops() []Op {
	ops := make([]Op, 0, len(opNames)-1)
	for o := Supply; int(o) < len(opNames); o++ {
		ops = append(ops, o)
	}
	return ops
}

// ParseOp returns the operation of that name; the empty name is [Supply].
func ParseOp(name string) (Op, error) {
	if name == "" {
		return Supply, nil
	}
	for o, n := range opNames {
		if n == name && n != "" {
			return Op(o), nil
		}
	}
	return 0, &Malformed{Field: "op", Why: fmt.Sprintf("%q is not an operation", clip(name))}
}

// Known says whether o is an operation of contract.md.
func (o Op) Known() bool { return int(o) < len(opNames) && opNames[o] != "" }

// String returns the name of contract.md, or "op(N)".
func (o Op) String() string {
	if o.Known() {
		return opNames[o]
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// MarshalText gives the name of contract.md. No operation has none: what could not be
// read back must not be written, least of all on a ledger.
func (o Op) MarshalText() ([]byte, error) {
	if !o.Known() {
		return nil, &Malformed{Field: "op", Why: o.String() + " is not an operation"}
	}
	return []byte(opNames[o]), nil
}

// UnmarshalText accepts the names of contract.md.
func (o *Op) UnmarshalText(b []byte) (err error) {
	*o, err = ParseOp(string(b))
	return err
}

// IsUndo says whether o brings a pack back to active.
func (o Op) IsUndo() bool { return o >= UndoSupply && o <= UndoLock }

// IsRead says whether o changes nothing at NMVS.
func (o Op) IsRead() bool { return o == Verify }

// Undoes returns the operation that o reverses, and 0 for every other one.
func (o Op) Undoes() Op {
	switch o {
	case UndoSupply:
		return Supply
	case UndoExport:
		return Export
	case UndoSample:
		return Sample
	case UndoFreeSample:
		return FreeSample
	case UndoLock:
		return Lock
	}
	return 0
}

// Final says whether a pack in that state can never be reactivated
// (Delegated Regulation 2016/161 article 13).
func (o Op) Final() bool { return o == Destroy || o == Stolen }
