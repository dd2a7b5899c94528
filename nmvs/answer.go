package nmvs

import (
	"fmt"
	"strings"
	"time"

	"decom/worker/scan"
)

// Finding is what NMVS said about one pack, or about a whole call.
type Finding struct {
	Class       Class
	Reason      scan.Reason // outcome word; "" where the class has none
	Alert       Alert       // yes too when an alert id was given
	UnknownCode bool        // the code was judged by its prefix; count it by its name
	Code        string      // ReturnCode, as given; "" if none was readable
	Desc        string      // for people; never branch on it
	State       string      // ACTIVE, INACTIVE, UNKNOWN, or what else was given; "" if not given
	Reasons     []string    // of the state
	AlertID     string
	Tx          string    // NMVSTrxId; of a submit: what to poll with
	At          time.Time // NMVS's clock; zero if it gave none
	ExpiryNMVS  string    // the expiry that NMVS has stored, xs:date
	Intermarket bool      // answered by another country's system
}

// PackAnswer is the result of one pack of a bulk or mixed bulk.
type PackAnswer struct {
	I      int    // place in Call.Packs
	Serial string //
	C      string // mixed: the item's ClientTrxId
	Finding
}

// Answer is the reply to one call. With an error of [Client.Do] it holds what is
// known all the same; its Class is that of the error.
type Answer struct {
	Finding
	C     string // ClientTrxId of the call
	Packs []PackAnswer
	// Absent counts the packs of the poll that the result does not name, Stray
	// the results that count for no pack: of other packs, or given twice.
	Absent, Stray int
	// Message is a text that came instead of results (nmvs-interface.md 1.9): no
	// pack of the bulk has a result then, nor ever will by this poll.
	Message string
	Notices []Notice // password, terms: a metric and a log line, never an error
	Pending []Pending
	Terms   *Terms
	Status  int // HTTP status; 0 when no answer came
	// RetryAfter is how long NMVS asks to wait; 0 when it does not say.
	RetryAfter time.Duration
}

// Notice is a notification in a reply's header.
type Notice struct {
	Code string // NMVS_NOTIFY_..., as given
	Desc string // the number of days stands here only
}

// Pending names a submitted bulk in the listing.
type Pending struct {
	C  string // ClientTrxId of the submit
	Tx string // NMVSTrxId to poll with
}

// Terms are the terms and conditions of the account.
type Terms struct {
	Version  int
	Text     string
	Start    time.Time
	Accepted bool // by this user
}

// classifier remembers the code that it saw last: in a bulk nearly all are equal. Its zero
// value is ready.
type classifier struct {
	any      bool
	code, op string
	v        Verdict
}

func (k *classifier) classify(code string, op *Operation) Verdict {
	if !k.any || k.op != op.Code || k.code != code {
		k.any, k.code, k.op, k.v = true, code, op.Code, Classify(code, *op)
	}
	return k.v
}

// judge judges one code with what came with it. It fills in place: a bulk has many, and
// they are large.
func (f *Finding) judge(k *classifier, rc *replyCode, op *Operation, state string, reasons []string, alertID string) {
	v := k.classify(rc.code, op).refine(rc.code, op, state, reasons)
	f.Class, f.Reason, f.Alert, f.UnknownCode = v.Class, v.Reason, v.Alert, !v.Known && rc.code != ""
	f.Code, f.Desc, f.State, f.Reasons, f.AlertID = rc.code, rc.desc, state, reasons, alertID
	if f.AlertID == "" && strings.Contains(rc.desc, "-") { // looked at cheaply first
		f.AlertID = alertPattern.FindString(rc.desc)
	}
	if f.AlertID != "" {
		f.Alert = AlertYes
	}
}

// judge turns a reply into an answer. An error says why the reply does not count
// though it was readable; the class is then [InDoubt].
//
// It uses the reply up.
func (c *Client) judge(call *Call, op Operation, r *reply) (Answer, error) {
	defer r.release()
	a := Answer{C: call.C, Notices: r.notices, Message: r.message}
	if r.fault != "" {
		return judgeFault(a, r)
	}
	if op.Kind == KindPing {
		if r.output != call.C {
			return a, fmt.Errorf("%w: the ping echoes another text", ErrForeign)
		}
		a.Class = Success
		return a, nil
	}
	var state string
	var reasons []string
	alertID := r.alertID
	single := op.Kind == KindSingle || op.Kind == KindManual || op.Kind == KindUndo
	if single && len(r.packs) == 1 {
		state, reasons = r.packs[0].state, r.packs[0].reasons
		if r.packs[0].alertID != "" {
			alertID = r.packs[0].alertID
		}
	}
	a.Finding.judge(new(classifier), &r.code, &op, state, reasons, alertID)
	a.Tx, a.At = r.tx, r.at
	a.ExpiryNMVS, a.Intermarket = r.product.known, r.product.intermarket
	if !r.code.given {
		return doubt(a, replyError("it has no return code"))
	}
	if err := echo(call, op, r, a.Class, single); err != nil {
		return doubt(a, err)
	}
	return c.judgeKind(a, call, op, r)
}

// judgeKind checks what a success must bring with it.
func (c *Client) judgeKind(a Answer, call *Call, op Operation, r *reply) (Answer, error) {
	switch op.Kind {
	case KindResult:
		return c.judgeResult(a, call, op, r)
	case KindSingle:
		if op.Op == scan.Verify && a.Class == Success && a.State == "" {
			return doubt(a, replyError("a verify without a state answers nothing"))
		}
	case KindBulk, KindBulkUndo, KindMixed:
		if a.Class == Success && !trxID(a.Tx) {
			return doubt(a, replyError("the bulk was accepted, but its NMVSTrxId is missing"))
		}
	case KindHeader:
		a.Pending = r.pending
		if r.hasTerms {
			a.Terms = &r.terms
		}
	}
	if a.Class == InDoubt && Classify(a.Code, op).Class.Answered() {
		return a, replyError("the code says done, the pack's state says %s", a.State)
	}
	return a, nil
}

func doubt(a Answer, err error) (Answer, error) {
	a.Class, a.Reason, a.Alert = InDoubt, "", AlertMaybe
	return a, err
}

// echo checks that the reply answers this call: its ClientTrxId, and the pack and
// product where they are given. Whose ids a poll's answer carries is not known,
// so they prove nothing there.
func echo(call *Call, op Operation, r *reply, class Class, single bool) error {
	if op.Kind == KindResult {
		return nil
	}
	switch {
	case r.c == call.C:
	case r.c != "":
		return fmt.Errorf("%w: ClientTrxId %q, sent was %q", ErrForeign, clip(r.c), call.C)
	case !class.RefusedWhole():
		// A request that could not be read cannot be named in its refusal; anything
		// else that does not say whom it answers may answer anybody.
		return fmt.Errorf("%w: it has no ClientTrxId", ErrForeign)
	}
	if !single {
		return nil
	}
	if len(r.packs) == 1 && r.packs[0].serial != "" && r.packs[0].serial != call.Packs[0].Serial {
		return fmt.Errorf("%w: it names another serial", ErrForeign)
	}
	if !sameProduct(&r.product, &call.Product) {
		return fmt.Errorf("%w: it names another product", ErrForeign)
	}
	return nil
}

// sameProduct compares the product code where one is given. GTINs of 13 and 14
// digits are the same number.
func sameProduct(r *replyProduct, p *Product) bool {
	if r.code == "" {
		return true
	}
	if r.scheme != "" && r.scheme != string(p.Scheme) {
		return false
	}
	if p.Scheme == scan.GTIN {
		return strings.TrimLeft(r.code, "0") == strings.TrimLeft(p.Code, "0")
	}
	return r.code == p.Code
}

// judgeFault classifies a SOAP fault (nmvs-interface.md 1.19).
func judgeFault(a Answer, r *reply) (Answer, error) {
	a.Desc = r.faultText
	switch r.fault {
	case "Sender", "VersionMismatch", "MustUnderstand", "DataEncodingUnknown":
		a.Class = Format // SOAP 1.2 part 1, 5.4.6: the message was not processed
	default:
		a.Class, a.Alert = InDoubt, AlertMaybe
	}
	return a, fmt.Errorf("SOAP fault %s", clip(r.fault))
}

// judgeResult reads the packs of a bulk's result, whatever the top-level code is.
func (c *Client) judgeResult(a Answer, call *Call, op Operation, r *reply) (Answer, error) {
	switch {
	case call.Service == Bulk && (len(r.packs) > 0 || r.reqType != ""):
		if err := c.bulkBelongs(call, r); err != nil {
			return doubt(a, err)
		}
		c.bulkPacks(&a, call, r)
	case call.Service == Mixed:
		c.mixedPacks(&a, call, r)
	}
	if len(a.Packs) > 0 {
		a.Class, a.Reason = Success, ""
	}
	if a.Class == Success {
		a.Absent = len(call.Packs) - len(a.Packs)
	}
	return a, nil
}

func (c *Client) bulkBelongs(call *Call, r *reply) error {
	if !sameProduct(&r.product, &call.Product) {
		return fmt.Errorf("%w: the result is of another product", ErrForeign)
	}
	if o, ok := CodeFor(call.Op, Bulk, false, c.cfg.Version); ok && r.reqType != "" && r.reqType != o.Code {
		return fmt.Errorf("%w: the result is of %s, submitted was %s", ErrForeign, clip(r.reqType), o.Code)
	}
	return nil
}

// Where a pack of the call stands in a reply: resultNone, resultTwice, or one more than the place.
const (
	resultNone  int32 = 0
	resultTwice int32 = -1
)

// put notes that result i speaks of a pack.
func put(at *int32, i int) {
	if *at != resultNone {
		*at = resultTwice
		return
	}
	*at = int32(i) + 1
}

// bulkPacks matches by serial. A serial that we did not ask for, or that is
// answered twice, does not count.
func (c *Client) bulkPacks(a *Answer, call *Call, r *reply) {
	at := make([]int32, len(call.Packs))
	for i := range r.packs {
		if r.packs[i].pack >= 0 {
			put(&at[r.packs[i].pack], i)
		}
	}
	a.Packs = make([]PackAnswer, 0, len(call.Packs))
	op, ok := CodeFor(call.Op, Bulk, call.Manual, c.cfg.Version)
	var k classifier
	for i, j := range at {
		if j <= 0 || !ok {
			continue
		}
		p := &r.packs[j-1]
		pa := extend(&a.Packs)
		pa.I, pa.Serial = i, p.serial
		f := &pa.Finding
		f.judge(&k, &p.code, &op, p.state, p.reasons, p.alertID)
		f.Tx, f.At, f.ExpiryNMVS, f.Intermarket = a.Tx, a.At, r.product.known, r.product.intermarket
		f.readState(&op)
	}
	a.Stray = len(r.packs) - len(a.Packs)
}

// mixedPacks matches by the item's own ClientTrxId; what the item says of pack,
// product and operation must agree.
func (c *Client) mixedPacks(a *Answer, call *Call, r *reply) {
	at := make([]int32, len(call.Packs))
	for i := range r.items {
		if r.items[i].in >= 0 {
			put(&at[r.items[i].in], i)
		}
	}
	a.Packs = make([]PackAnswer, 0, len(r.items))
	var k classifier
	for i, j := range at {
		if j <= 0 {
			continue
		}
		p, it := &call.Packs[i], &r.items[j-1]
		op, err := c.packOp(call, p)
		if err != nil || it.reqType != "" && it.reqType != op.Code || !sameProduct(&it.product, &p.Product) ||
			it.packs == 1 && it.pack.serial != p.Serial {
			continue
		}
		id := it.pack.alertID
		if id == "" {
			id = it.alertID
		}
		pa := extend(&a.Packs)
		pa.I, pa.Serial, pa.C = i, p.Serial, p.C
		f := &pa.Finding
		f.judge(&k, &it.pack.code, &op, it.pack.state, it.pack.reasons, id)
		f.Tx, f.At, f.ExpiryNMVS, f.Intermarket = it.tx, it.at, it.product.known, it.product.intermarket
		f.readState(&op)
	}
	a.Stray = len(r.items) - len(a.Packs)
}

// readState makes a verify without a state what it is: no answer.
func (f *Finding) readState(op *Operation) {
	if op.Op == scan.Verify && f.Class == Success && f.State == "" {
		f.Class, f.Alert = InDoubt, AlertMaybe
	}
}
