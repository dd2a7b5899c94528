package nmvs

import (
	"fmt"

	"decom/worker/scan"
)

// Service is one of the web services of NMVS. Each has its own endpoint, and by
// our choice its own limiter and breaker (nmvs-interface.md 1.2).
type Service uint8

// The services a worker talks to.
const (
	Single  Service = iota // one pack a call, answered at once
	Bulk                   // one product and batch, many serials, fetched later
	Mixed                  // many items, each with its own operation and product, fetched later
	Support                // ping, password, terms
)

var serviceNames = [...]string{Single: "single", Bulk: "bulk", Mixed: "mixed", Support: "support"}

// Services returns every service once.
func Services() []Service { return []Service{Single, Bulk, Mixed, Support} }

// ParseService returns the service of that name. The names single, bulk and
// mixed are those of ledger records.
func ParseService(name string) (Service, bool) {
	for s, n := range serviceNames {
		if n == name {
			return Service(s), true
		}
	}
	return 0, false
}

// String returns the service's name, a metric label.
func (s Service) String() string {
	if int(s) < len(serviceNames) {
		return serviceNames[s]
	}
	return fmt.Sprintf("service(%d)", uint8(s))
}

// Kind is the form of an operation's request body (nmvs-interface.md 1.6).
type Kind uint8

// The kinds, with the schema's names.
const (
	KindPing     Kind = iota // no header, one text to echo
	KindSingle               // I1: product with batch and expiry, one pack
	KindManual               // I2: product without batch, one pack
	KindUndo                 // I3: as single, then the optional id of the change
	KindBulk                 // I4: one product, many packs
	KindBulkUndo             // I5: as bulk, then the optional id of the change
	KindResult               // I6: the NMVSTrxId of a submitted bulk
	KindHeader               // I7: no body
	KindMixed                // I8: a list of items
	KindPassword             // I10: the password and the new one
	KindTerms                // I12: a version of the terms
)

// Operation is one row of the operation table (nmvs-interface.md 1.8). It is
// what client and simulator share, and all that they share.
type Operation struct {
	// Code names the request and reply elements: Code+"Request",
	// Code+"Response". A ping has no G code; its Code is the element's stem.
	Code string
	// Name is the SOAP action after "urn:".
	Name    string
	Service Service
	Kind    Kind
	// Op is what the operation does; 0 when scans cannot ask for it.
	Op scan.Op
	// Reason is the state reason that the operation sets, or, for an undo, removes.
	Reason string
	// UndoneBy is the code that reverses it, "" if none does. Where UndoneBy is
	// V2Only the change is final from interface V3 on.
	UndoneBy string
	// V2Only marks operations that interface V2 had and later ones refuse.
	V2Only bool
}

// Action returns the SOAP action.
func (o Operation) Action() string { return "urn:" + o.Name }

// IsUndo says whether the operation brings packs back to ACTIVE.
func (o Operation) IsUndo() bool { return o.Kind == KindUndo || o.Kind == KindBulkUndo }

// Changes says whether the operation may change packs: if its fate is unknown,
// somebody has to find out. Reads and account operations do not. G195 does, by
// its items.
func (o Operation) Changes() bool {
	switch o.Kind {
	case KindSingle, KindBulk:
		return o.Op != scan.Verify
	case KindManual, KindUndo, KindBulkUndo, KindMixed:
		return true
	}
	return false
}

// The reasons of state that operations set. More exist, set by others
// (nmvs-interface.md 1.11).
const (
	ReasonSupplied   = "SUPPLIED"
	ReasonDestroyed  = "DESTROYED"
	ReasonExported   = "EXPORTED"
	ReasonSample     = "SAMPLE"
	ReasonFreeSample = "FREESAMPLE"
	ReasonLocked     = "LOCKED"
	ReasonStolen     = "STOLEN"
)

// The operation codes that are not reached through [CodeFor].
const (
	CodeBulkResult  = "G188"
	CodeMixedSubmit = "G195"
	CodeMixedResult = "G196"
	CodePassword    = "G445"
	CodeTermsLoad   = "G482"
	CodeTermsAccept = "G483"
)

// operations is never written. Names that no source gives are built by the
// rule that the others follow: G123, the V2-only bulk undos, G445 to G483.
var operations = [...]Operation{
	{Code: "SinglePackPing", Name: "PingSinglePack", Service: Single, Kind: KindPing},
	{Code: "G110", Name: "G110Verify", Service: Single, Kind: KindSingle, Op: scan.Verify},
	{Code: "G120", Name: "G120Dispense", Service: Single, Kind: KindSingle, Op: scan.Supply, Reason: ReasonSupplied, UndoneBy: "G121"},
	{Code: "G121", Name: "G121UndoDispense", Service: Single, Kind: KindUndo, Op: scan.UndoSupply, Reason: ReasonSupplied},
	{Code: "G122", Name: "G122DispenseManualEntry", Service: Single, Kind: KindManual, Op: scan.Supply, Reason: ReasonSupplied, UndoneBy: "G123"},
	{Code: "G123", Name: "G123UndoDispenseManualEntry", Service: Single, Kind: KindUndo, Op: scan.UndoSupply, Reason: ReasonSupplied},
	{Code: "G130", Name: "G130Destroy", Service: Single, Kind: KindSingle, Op: scan.Destroy, Reason: ReasonDestroyed, UndoneBy: "G131"},
	{Code: "G131", Name: "G131UndoDestroy", Service: Single, Kind: KindUndo, Reason: ReasonDestroyed, V2Only: true},
	{Code: "G140", Name: "G140Export", Service: Single, Kind: KindSingle, Op: scan.Export, Reason: ReasonExported, UndoneBy: "G141"},
	{Code: "G141", Name: "G141UndoExport", Service: Single, Kind: KindUndo, Op: scan.UndoExport, Reason: ReasonExported},
	{Code: "G150", Name: "G150Sample", Service: Single, Kind: KindSingle, Op: scan.Sample, Reason: ReasonSample, UndoneBy: "G151"},
	{Code: "G151", Name: "G151UndoSample", Service: Single, Kind: KindUndo, Op: scan.UndoSample, Reason: ReasonSample},
	{Code: "G160", Name: "G160FreeSample", Service: Single, Kind: KindSingle, Op: scan.FreeSample, Reason: ReasonFreeSample, UndoneBy: "G161"},
	{Code: "G161", Name: "G161UndoFreeSample", Service: Single, Kind: KindUndo, Op: scan.UndoFreeSample, Reason: ReasonFreeSample},
	{Code: "G170", Name: "G170Lock", Service: Single, Kind: KindSingle, Op: scan.Lock, Reason: ReasonLocked, UndoneBy: "G171"},
	{Code: "G171", Name: "G171UndoLock", Service: Single, Kind: KindUndo, Op: scan.UndoLock, Reason: ReasonLocked},
	{Code: "G180", Name: "G180Stolen", Service: Single, Kind: KindSingle, Op: scan.Stolen, Reason: ReasonStolen, UndoneBy: "G181"},
	{Code: "G181", Name: "G181UndoStolen", Service: Single, Kind: KindUndo, Reason: ReasonStolen, V2Only: true},
	{Code: "G182", Name: "G182StolenManualEntry", Service: Single, Kind: KindManual, Op: scan.Stolen, Reason: ReasonStolen},

	{Code: "BulkPing", Name: "PingBulk", Service: Bulk, Kind: KindPing},
	{Code: "G115", Name: "G115BulkVerify", Service: Bulk, Kind: KindBulk, Op: scan.Verify},
	{Code: "G125", Name: "G125BulkDispense", Service: Bulk, Kind: KindBulk, Op: scan.Supply, Reason: ReasonSupplied, UndoneBy: "G127"},
	{Code: "G127", Name: "G127BulkUndoDispense", Service: Bulk, Kind: KindBulkUndo, Op: scan.UndoSupply, Reason: ReasonSupplied},
	{Code: "G135", Name: "G135BulkDestroy", Service: Bulk, Kind: KindBulk, Op: scan.Destroy, Reason: ReasonDestroyed, UndoneBy: "G137"},
	{Code: "G137", Name: "G137BulkUndoDestroy", Service: Bulk, Kind: KindBulkUndo, Reason: ReasonDestroyed, V2Only: true},
	{Code: "G145", Name: "G145BulkExport", Service: Bulk, Kind: KindBulk, Op: scan.Export, Reason: ReasonExported, UndoneBy: "G147"},
	{Code: "G147", Name: "G147BulkUndoExport", Service: Bulk, Kind: KindBulkUndo, Op: scan.UndoExport, Reason: ReasonExported},
	{Code: "G155", Name: "G155BulkSample", Service: Bulk, Kind: KindBulk, Op: scan.Sample, Reason: ReasonSample, UndoneBy: "G157"},
	{Code: "G157", Name: "G157BulkUndoSample", Service: Bulk, Kind: KindBulkUndo, Op: scan.UndoSample, Reason: ReasonSample},
	{Code: "G165", Name: "G165BulkFreeSample", Service: Bulk, Kind: KindBulk, Op: scan.FreeSample, Reason: ReasonFreeSample, UndoneBy: "G167"},
	{Code: "G167", Name: "G167BulkUndoFreeSample", Service: Bulk, Kind: KindBulkUndo, Op: scan.UndoFreeSample, Reason: ReasonFreeSample},
	{Code: "G175", Name: "G175BulkLock", Service: Bulk, Kind: KindBulk, Op: scan.Lock, Reason: ReasonLocked, UndoneBy: "G177"},
	{Code: "G177", Name: "G177BulkUndoLock", Service: Bulk, Kind: KindBulkUndo, Op: scan.UndoLock, Reason: ReasonLocked},
	{Code: "G185", Name: "G185BulkStolen", Service: Bulk, Kind: KindBulk, Op: scan.Stolen, Reason: ReasonStolen, UndoneBy: "G187"},
	{Code: "G187", Name: "G187BulkUndoStolen", Service: Bulk, Kind: KindBulkUndo, Reason: ReasonStolen, V2Only: true},
	{Code: CodeBulkResult, Name: "G188RequestBulkPackResult", Service: Bulk, Kind: KindResult},

	{Code: "MixedBulkPing", Name: "PingMixedBulk", Service: Mixed, Kind: KindPing},
	{Code: CodeMixedSubmit, Name: "G195SubmitBulkTransaction", Service: Mixed, Kind: KindMixed},
	{Code: CodeMixedResult, Name: "G196RequestBulkTransactionResult", Service: Mixed, Kind: KindResult},

	{Code: "SupportPing", Name: "SupportPing", Service: Support, Kind: KindPing},
	{Code: CodePassword, Name: "G445ChangePassword", Service: Support, Kind: KindPassword},
	{Code: CodeTermsLoad, Name: "G482LoadTermsAndConditions", Service: Support, Kind: KindHeader},
	{Code: CodeTermsAccept, Name: "G483ConfirmTermsAndConditions", Service: Support, Kind: KindTerms},
}

// Operations returns every row of the table, in its order. The slice is the caller's.
func Operations() []Operation { return append([]Operation(nil), operations[:]...) }

// Lookup returns the operation of that code: a G code, or the stem of a ping's
// elements.
func Lookup(code string) (Operation, bool) {
	for i := range operations {
		if operations[i].Code == code {
			return operations[i], true
		}
	}
	return Operation{}, false
}

// CodeFor returns the operation that does op on the service. On [Mixed] it is
// the operation of an item; the request around the items is [CodeMixedSubmit].
//
// Manual entry has operations of its own for supply, stolen and the undo of
// supply, on single calls only; every other op is sent in its normal form,
// which is complete because a pack always carries batch and expiry. A bulk has
// no manual form, so (supply, Bulk, manual) is false rather than passing a
// typed pack off as a scanned one. G123 is not in the public V2 schema, nor
// among the items of a mixed bulk: there G121 undoes G122.
func CodeFor(op scan.Op, svc Service, manual bool, version int) (Operation, bool) {
	if op == 0 || svc == Support {
		return Operation{}, false
	}
	if manual && (op == scan.Supply || op == scan.Stolen) {
		if svc == Bulk {
			return Operation{}, false
		}
		return find(op, Single, KindManual, "")
	}
	switch {
	case svc == Bulk && op.IsUndo():
		return find(op, Bulk, KindBulkUndo, "")
	case svc == Bulk:
		return find(op, Bulk, KindBulk, "")
	case op == scan.UndoSupply && manual && svc == Single && version > 2:
		return Lookup("G123")
	case op.IsUndo():
		return find(op, Single, KindUndo, "G123")
	}
	return find(op, Single, KindSingle, "")
}

func find(op scan.Op, svc Service, kind Kind, not string) (Operation, bool) {
	for i := range operations { // asked for each pack of a bulk, several times: no copies
		if o := &operations[i]; o.Op == op && o.Service == svc && o.Kind == kind && o.Code != not {
			return *o, true
		}
	}
	return Operation{}, false
}

// PingFor returns the ping of the service.
func PingFor(svc Service) (Operation, bool) {
	for _, o := range operations {
		if o.Service == svc && o.Kind == KindPing {
			return o, true
		}
	}
	return Operation{}, false
}

// WantedReason returns the state reason that op sets, or, for an undo, the one
// that it removes; "" for a read.
func WantedReason(op scan.Op) string {
	if o, ok := CodeFor(op, Single, false, 0); ok {
		return o.Reason
	}
	return ""
}
