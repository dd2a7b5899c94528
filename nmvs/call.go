package nmvs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"decom/worker/scan"
)

// Act is what a [Call] is about.
type Act uint8

// The acts.
const (
	ActPacks       Act = iota // Op on Packs: one pack at once, or a bulk or mixed submit
	ActPoll                   // fetch the result of the submit that Tx names
	ActPing                   // echo; carries no login
	ActList                   // list of submitted bulks, where Config.PendingListCode names the operation
	ActPassword               // change the password to NewPassword
	ActTerms                  // load the terms: the one harmless call that carries a login
	ActAcceptTerms            // accept TermsVersion; a person's decision
)

// Product is what names a kind of pack, with its batch and expiry, exactly as scanned.
type Product struct {
	Scheme scan.Scheme
	Code   string // GTIN: 14 digits
	Batch  string
	Expiry string // YYMMDD, DD may be 00
	NHRN   string // national number; sent from interface V5 on, when set
}

// Pack is one pack of a call.
type Pack struct {
	Serial string
	// RefC is the ClientTrxId of the change that an undo reverses. A bulk undo
	// has room for one: all its packs must name the same.
	RefC string
	// The rest is for [Mixed] only, where each pack is an item of its own.
	C       string // the item's ClientTrxId
	Op      scan.Op
	Manual  bool
	Product Product
}

// Call is one request. Build it from the ledger's record only: the bytes that
// go out are a function of the call, the [Config] and the credentials.
type Call struct {
	Act     Act
	C       string // ClientTrxId, new for every call ([NewTrxID])
	Service Service
	Op      scan.Op // single and bulk
	Manual  bool    // single: typed by a person
	Product Product // single and bulk
	// Packs: one on [Single]; up to 100,000 else. A poll repeats those of the
	// submit: what the answer says of any other pack does not count.
	Packs []Pack
	Tx    string // poll: the NMVSTrxId that the submit's answer gave

	NewPassword  string // ActPassword
	TermsVersion int    // ActAcceptTerms

	// SHA, if set, is what [Client.Digest] must say of the bytes that leave; others are not
	// written: class [NotSent], [ErrBytes].
	SHA string

	// Guard, if set, is called exactly once when the connection is ready, before
	// the first byte of the request is written, on another goroutine than Do's
	// caller; Do does not return before it has. If it returns an error nothing
	// is written: class [NotSent], and the error is in the chain. It is not
	// called at all when no connection is had.
	Guard func() error
}

// MaxPacks is the schema's limit of packs in one request.
const MaxPacks = 100_000

// MaxMessage is the longest text a ping may echo; a ping's text is its C.
const MaxMessage = 100

// ErrCall marks a call that cannot be rendered: a fault of the caller's data,
// found before anything was sent. Its class is [Format].
var ErrCall = errors.New("not a sendable call")

func callError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCall, fmt.Sprintf(format, args...))
}

// operation finds the operation of the call.
func (c *Client) operation(call *Call) (Operation, error) {
	var op Operation
	ok := true
	switch call.Act {
	case ActPacks:
		if call.Service == Mixed {
			op, ok = Lookup(CodeMixedSubmit)
		} else {
			op, ok = CodeFor(call.Op, call.Service, call.Manual, c.cfg.Version)
		}
	case ActPoll:
		switch call.Service {
		case Bulk:
			op, ok = Lookup(CodeBulkResult)
		case Mixed:
			op, ok = Lookup(CodeMixedResult)
		default:
			ok = false
		}
	case ActPing:
		op, ok = PingFor(call.Service)
	case ActList:
		if c.cfg.PendingListCode == "" {
			return op, fmt.Errorf("listing of pending bulks: %w", ErrNotConfigured)
		}
		ok = call.Service == Bulk || call.Service == Mixed
		op = Operation{Code: c.cfg.PendingListCode, Name: c.cfg.PendingListCode, Service: call.Service, Kind: KindHeader}
	case ActPassword:
		op, ok = Lookup(CodePassword)
	case ActTerms:
		op, ok = Lookup(CodeTermsLoad)
	case ActAcceptTerms:
		op, ok = Lookup(CodeTermsAccept)
	default:
		ok = false
	}
	if !ok {
		return op, callError("no operation does act %d, %s on the %s service", call.Act, call.Op, call.Service)
	}
	return op, nil
}

// packOp is the operation of one pack: the call's, or the item's of a mixed bulk.
func (c *Client) packOp(call *Call, p *Pack) (Operation, error) {
	op, manual, svc := call.Op, call.Manual, call.Service
	if svc == Mixed {
		op, manual = p.Op, p.Manual
	}
	o, ok := CodeFor(op, svc, manual, c.cfg.Version)
	if !ok {
		return o, callError("no operation does %s on the %s service", op, svc)
	}
	return o, nil
}

// check refuses what must not leave: rules of nmvs-interface.md 1.4 and 1.6 that
// rendering would break. scan.NewPack checks the alphabets, so no control
// character gets through.
func (c *Client) check(call *Call, op Operation) error {
	if op.Kind == KindPing {
		if !plainText(call.C, MaxMessage) {
			return callError("a ping's text must be 1 to %d characters", MaxMessage)
		}
		return nil
	}
	if !trxID(call.C) {
		return callError("ClientTrxId %q must be 1 to 32 of A-Z a-z 0-9 -", clip(call.C))
	}
	switch op.Kind {
	case KindResult:
		if !trxID(call.Tx) {
			return callError("NMVSTrxId %q must be 1 to 32 of A-Z a-z 0-9 -", clip(call.Tx))
		}
		return nil
	case KindPassword:
		if n := len(call.NewPassword); n < 8 || !plainText(call.NewPassword, 60) {
			return callError("the new password must be 8 to 60 printable characters")
		}
		return nil
	case KindTerms:
		if call.TermsVersion < 1 {
			return callError("the version of the terms must be positive")
		}
		return nil
	case KindHeader:
		return nil
	}
	return c.checkPacks(call, op)
}

func (c *Client) checkPacks(call *Call, op Operation) error {
	n := len(call.Packs)
	switch {
	case n == 0 || n > MaxPacks:
		return callError("%d packs, must be 1 to %d", n, MaxPacks)
	case call.Service == Single && n != 1:
		return callError("%d packs on the single service", n)
	case op.V2Only && c.cfg.Version > 2:
		return callError("%s exists in interface V2 only", op.Code)
	}
	names := nameSets.Get().(*nameSet)
	defer names.release()
	seen := names.ids
	for i := range call.Packs {
		p := &call.Packs[i]
		pr, id := &call.Product, p.Serial
		if call.Service == Mixed {
			pr, id = &p.Product, p.C
			if _, err := c.packOp(call, p); err != nil {
				return err
			}
			if !trxID(p.C) || p.C == call.C {
				return callError("pack %d: ClientTrxId %q must be 1 to 32 of A-Z a-z 0-9 - and its own", i, clip(p.C))
			}
		}
		if i == 0 || call.Service == Mixed || !fits(p.Serial) {
			if err := scan.CheckPack(pr.Scheme, pr.Code, p.Serial, pr.Batch, pr.Expiry); err != nil {
				return fmt.Errorf("%w: pack %d: %w", ErrCall, i, err)
			}
		}
		if pr.NHRN != "" && !upperDigits(pr.NHRN, 8, 20) {
			return callError("pack %d: NHRN must be 8 to 20 of A-Z 0-9", i)
		}
		switch {
		case p.RefC != "" && !trxID(p.RefC):
			return callError("pack %d: RefClientTrxId %q must be 1 to 32 of A-Z a-z 0-9 -", i, clip(p.RefC))
		case call.Service == Bulk && p.RefC != call.Packs[0].RefC:
			return callError("pack %d: a bulk undo has one RefClientTrxId, these packs have several", i)
		}
		if _, again := seen[id]; again {
			return callError("pack %d stands twice in one request", i)
		}
		seen[id] = struct{}{}
	}
	if call.Service == Mixed {
		return checkOncePerPack(call, names.packs)
	}
	return nil
}

// nameSet finds what stands twice in a request. Its maps are pooled: a bulk of 500 fills
// them three times on its way, and they would be the largest thing that rendering makes.
type nameSet struct {
	ids   map[string]struct{} // ClientTrxIds of a mixed bulk, serials of another
	packs map[packName]struct{}
}

type packName struct {
	scheme       scan.Scheme
	code, serial string
}

var nameSets = sync.Pool{New: func() any {
	return &nameSet{map[string]struct{}{}, map[packName]struct{}{}}
}}

// release gives the set back, empty; one that has grown large is left to the collector.
func (n *nameSet) release() {
	if len(n.ids) > 2*pooledPacks {
		return
	}
	clear(n.ids)
	clear(n.packs)
	nameSets.Put(n)
}

// checkOncePerPack refuses a mixed bulk that names a pack twice: NMVS's order
// of execution is unknown.
func checkOncePerPack(call *Call, seen map[packName]struct{}) error {
	for i := range call.Packs {
		p := &call.Packs[i]
		n := packName{p.Product.Scheme, p.Product.Code, p.Serial}
		if _, again := seen[n]; again {
			return callError("pack %d stands twice in one request", i)
		}
		seen[n] = struct{}{}
	}
	return nil
}

// fits says that scan.NewPack has nothing against the serial, cheaply, for bulks
// of 100,000: a serial of letters and digits needs no table.
func fits(serial string) bool {
	if serial == "" || len(serial) > 20 {
		return false
	}
	for i := 0; i < len(serial); i++ {
		if !letterOrDigit(serial[i]) {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func upperDigits(s string, shortest, longest int) bool {
	for i := 0; i < len(s); i++ {
		if !letterOrDigit(s[i]) || s[i] >= 'a' {
			return false
		}
	}
	return len(s) >= shortest && len(s) <= longest
}

// trxID checks the form of ClientTrxId and NMVSTrxId.
func trxID(s string) bool {
	for i := 0; i < len(s); i++ {
		if !letterOrDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 32
}

// clip keeps quoted input short in messages.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// crockford is Crockford's base32 alphabet: no I, L, O, U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewTrxID returns a new ClientTrxId: 26 random characters, 130 bits.
func NewTrxID() string {
	var b [26]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	for i := range b {
		b[i] = crockford[b[i]&31]
	}
	return string(b[:])
}
