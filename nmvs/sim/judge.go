package sim

import (
	"slices"
	"time"

	"decom/nmvs"
)

// attempt is one operation on one pack: a single call, or one pack of a bulk.
type attempt struct {
	op      *operation
	account *account
	product productRef
	serial  []byte
	ref     []byte
	cid     string
	tx      txID
	at      time.Time
	bulk    bool
	late    bool
	fault   string
}

// packView is one pack in a reply. It is not changed once it is made.
type packView struct {
	scheme, code, serial string
	nhrn, lastDay        string // empty where the store may not tell
	batch, expiry        string
	foreign              bool
	state                string
	reasons              []string
	ret                  string // return code
	alertID              string
}

// ruling is what the rules say of one attempt.
type ruling struct {
	code   string
	effect bool
	quiet  bool // no alert, whatever the code
	twice  bool
}

// carryOut looks at the pack, changes it if the rules allow, and writes the
// ledger. It follows the order of checks of nmvs-interface.md 1.18: product,
// serial, batch, expiry, state, undo rules, change.
func (s *Sim) carryOut(a attempt) (packView, uint64) {
	p, pk := s.find(a)
	r, seen := ruling{code: s.checkData(a, p, pk)}, false
	if r.code == "" {
		seen = true
		r = s.applyRules(a, pk)
	}
	v := s.view(a, p, pk, seen)
	kind, n := s.alert(&r, a, pk)
	if n != 0 {
		v.alertID = s.alertID(n, p.market)
	}
	v.ret = r.code
	s.book.c.Codes[r.code]++
	if r.effect {
		s.book.c.Effects[a.op.Code]++
	}
	if p == nil {
		// The ledger names every product that was asked for, so it needs a place
		// to keep the name; it is not put into the store.
		p = &product{scheme: v.scheme, code: v.code, market: Home}
	}
	w := row{
		at: a.at.UnixNano(), cid: a.cid, serial: v.serial, tx: a.tx, product: p, account: a.account, op: a.op,
		alert: n, code: s.book.word(r.code), kind: s.book.word(kind), fault: s.book.word(a.fault),
	}
	for _, f := range []struct {
		on   bool
		flag uint8
	}{{r.effect, rowEffect}, {r.twice, rowTwice}, {a.late, rowLate}} {
		if f.on {
			w.flags |= f.flag
		}
	}
	return v, s.book.add(w, s.set.LedgerLimit)
}

func (s *Sim) find(a attempt) (*product, *pack) {
	s.key = append(append(append(s.key[:0], a.product.scheme...), '|'), a.product.code...)
	p := s.products[string(s.key)]
	if p != nil && p.foreign() && a.bulk && !s.set.Rules.BulkForeign {
		return nil, nil
	}
	var pk *pack
	if p != nil {
		pk = p.packs[string(a.serial)]
	}
	if pk == nil {
		return s.autoStock(p, a.product, a.serial)
	}
	return p, pk
}

// checkData returns the code with which the data are refused, or "".
func (s *Sim) checkData(a attempt, p *product, pk *pack) string {
	switch {
	case p == nil && !s.set.Rules.SkipCheckDigit && string(a.product.scheme) == "GTIN" && !goodGTIN(a.product.code):
		return codeGTINForm
	case p == nil && !s.set.Rules.SkipCheckDigit && string(a.product.scheme) == "PPN" && !goodPPN(a.product.code):
		return codePPNForm
	case p == nil:
		return codeNoProduct
	case p.denied:
		return codeNoProductFor
	case pk == nil:
		return codeNoSerial
	case a.product.batch == nil: // manual entry
		return ""
	}
	old := s.cfg.Version < 4
	switch b := p.batches[string(a.product.batch)]; {
	case b == nil || b != pk.batch && old:
		return codeNoBatch
	case b != pk.batch:
		return codeOtherBatch
	}
	given := string(a.product.expiry)
	if given == pk.batch.expiry || s.set.Rules.ExpiryByMonth && given[:4] == pk.batch.expiry[:4] {
		return ""
	}
	if _, ok := lastDay(given); !ok {
		return codeBadDate
	}
	if old {
		return codeExpiryOld
	}
	return codeExpiry
}

func goodGTIN(code []byte) bool {
	if len(code) != 14 {
		return false
	}
	sum := 0
	for i, c := range code {
		sum += int(c-'0') * (3 - i%2*2)
	}
	return sum%10 == 0
}

// goodPPN checks the two last digits (domain.md 5).
func goodPPN(code []byte) bool {
	n := len(code) - 2
	sum := 0
	for i, c := range code[:n] {
		sum += (i + 2) * int(c)
	}
	return sum%97 == int(code[n]-'0')*10+int(code[n+1]-'0')
}

// applyRules is nmvs-interface.md 1.12 on a pack whose data are right.
func (s *Sim) applyRules(a attempt, pk *pack) ruling {
	rs := s.reasons(pk, a.at)
	switch {
	case a.op.undo:
		return s.undo(a, pk, len(rs) > len(pk.marks))
	case !a.op.changes && rs == nil:
		return ruling{code: codeSuccess}
	case !a.op.changes:
		return ruling{code: s.set.Rules.VerifyInactiveCode, quiet: true}
	case rs == nil:
		pk.marks = append(pk.marks, mark{a.op.Reason, a.account, a.at, a.cid})
		pk.repeats = 0
		pk.decommissions++
		return ruling{code: codeSuccess, effect: true}
	case len(pk.marks) == 0: // rule 4
		return ruling{code: batchCode(rs), quiet: true}
	}
	own, again := false, false
	for _, m := range pk.marks {
		own = own || m.account == a.account
		again = again || m.reason == a.op.Reason
	}
	r := ruling{twice: own, quiet: len(rs) > len(pk.marks)}
	if own {
		s.book.c.SentTwice++
		pk.twice++
	}
	switch {
	case own && again && int(pk.repeats) < s.set.Rules.Tolerance:
		pk.repeats++
		r.code = codeRepeat
	case pk.product.foreign() && again:
		r.code = s.set.Rules.ForeignRepeatCode
	case pk.product.foreign() && s.cfg.Version >= 4:
		r.code = codeForeignState
	default:
		r.code = s.set.Rules.RepeatCode
	}
	return r
}

func batchCode(reasons []string) string {
	switch {
	case slices.Contains(reasons, "RECALLED"):
		return codeRecalled
	case slices.Contains(reasons, "WITHDRAWN"):
		return codeWithdrawn
	}
	return codeExpired
}

// undo applies rule 3. byBatch: the pack is expired, recalled or withdrawn.
func (s *Sim) undo(a attempt, pk *pack, byBatch bool) ruling {
	i := slices.IndexFunc(pk.marks, func(m mark) bool { return m.reason == a.op.Reason })
	if i < 0 || byBatch {
		r := ruling{code: codeUndoState, quiet: len(pk.marks) == 0 || byBatch}
		if s.set.Rules.OldUndoCodes || s.cfg.Version == 2 {
			r.code = oldUndoCode(a.op.Reason)
		}
		if len(pk.marks) == 0 && pk.undoneBy == a.account && a.account != nil {
			r.twice = true
			s.book.c.UndoTwice++
			pk.undoTwice++
		}
		return r
	}
	m := pk.marks[i]
	late := s.set.Rules.LateUndoCode
	ref := codeRefOther
	switch a.op.Reason {
	case nmvs.ReasonSupplied:
		def(&late, codeLateSupply)
		ref = codeRefSupply
	case nmvs.ReasonDestroyed:
		def(&late, codeLateDestroy)
		ref = codeRefDestroy
	default:
		def(&late, codeLateOther)
	}
	user := m.account == a.account || s.set.Rules.UndoByClient && m.account != nil && m.account.client == a.account.client
	switch {
	case !user:
		return ruling{code: codeOtherUser}
	case a.at.Sub(m.at) > time.Duration(s.set.Rules.UndoWindow):
		return ruling{code: late}
	case a.ref != nil && string(a.ref) != m.cid:
		return ruling{code: ref}
	}
	pk.marks = slices.Delete(pk.marks, i, i+1)
	pk.repeats, pk.undoneBy = 0, a.account
	pk.undos++
	return ruling{code: codeSuccess, effect: true}
}

// oldUndoCode is how V2 says that the state does not fit the undo.
func oldUndoCode(reason string) string {
	switch reason {
	case nmvs.ReasonSupplied:
		return "NMVS_NC_PCK_04"
	case nmvs.ReasonExported:
		return "NMVS_NC_PCK_07"
	case nmvs.ReasonLocked:
		return "NMVS_NC_PCK_14"
	}
	return codeUndoState
}

// alert raises the alert that the code stands for, unless the rules keep it
// quiet. It may replace the code by its twin.
func (s *Sim) alert(r *ruling, a attempt, pk *pack) (kind string, n uint64) {
	kind = alertKinds[r.code]
	if kind == "" || r.quiet {
		return "", 0
	}
	if s.set.Rules.NoAlertTwins && s.cfg.Version >= 5 {
		if t := twins[r.code]; t != "" {
			r.code = t
			return "", 0
		}
	}
	s.alerts++
	s.book.c.Alerts[kind]++
	if r.twice {
		s.book.c.SelfAlerts++
	}
	if pk != nil {
		pk.alerts++
	}
	return kind, s.alerts
}

// view is what the reply may tell. Of data that do not fit it tells nothing but
// what was sent. Strings of the store are used where they are equal, which
// spares copies.
func (s *Sim) view(a attempt, p *product, pk *pack, seen bool) packView {
	v := packView{state: "UNKNOWN"}
	if p != nil {
		v.scheme, v.code, v.nhrn, v.foreign = p.scheme, p.code, p.nhrn, p.foreign()
	} else {
		v.scheme, v.code = string(a.product.scheme), string(a.product.code)
	}
	if pk != nil {
		v.serial = pk.serial
	} else {
		v.serial = string(a.serial)
	}
	if !seen {
		v.batch, v.expiry, v.nhrn = string(a.product.batch), string(a.product.expiry), ""
		return v
	}
	v.batch, v.expiry, v.lastDay = pk.batch.id, pk.batch.expiry, pk.batch.lastDay
	if a.product.expiry != nil && string(a.product.expiry) != v.expiry {
		v.expiry = string(a.product.expiry)
	}
	v.reasons = s.reasons(pk, a.at)
	if v.foreign {
		v.nhrn, v.lastDay = "", ""
		if s.set.Rules.ForeignReasonsUnknown && v.reasons != nil {
			v.reasons = []string{"UNKNOWN"}
		}
	}
	v.state = "ACTIVE"
	if v.reasons != nil {
		v.state = "INACTIVE"
	}
	return v
}
