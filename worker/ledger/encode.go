package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"

	"decom/worker/rawjson"
	"decom/worker/scan"
)

// appendRecord appends r exactly as a json.Encoder without HTML escapes writes it (a test
// fills every field and compares): a record's hash must not depend on the version of this
// program. The members stand in the order of the structs in record.go. The error is that of an
// operation or phase that has no word.
func appendRecord(b []byte, r *Record) ([]byte, error) {
	e := encoder{rawjson.NewObject(b, false), nil}
	e.Int("v", int64(r.V))
	e.Str("account", r.Account)
	e.Uint("prev_seq", r.PrevSeq)
	e.Str("prev", r.Prev)
	e.Str("by", r.By)
	e.Str("at", r.At)
	if len(r.Note) > 0 {
		e.array("note", len(r.Note), func(i int) { e.note(&r.Note[i]) })
	}
	if len(r.Open) > 0 {
		e.array("open", len(r.Open), func(i int) { e.open(&r.Open[i]) })
	}
	if len(r.Fact) > 0 {
		e.array("fact", len(r.Fact), func(i int) { e.fact(&r.Fact[i]) })
	}
	if e.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, e.err)
	}
	return e.End(), nil
}

// encoder is the object that is being written, and the first error.
type encoder struct {
	rawjson.Object
	err error
}

// array writes an array of n objects; each writes the members of one.
func (e *encoder) array(name string, n int, each func(i int)) {
	e.Name(name)
	e.B = append(e.B, '[')
	for i := range n {
		if i > 0 {
			e.B = append(e.B, ',')
		}
		e.within(func() { each(i) })
	}
	e.B = append(e.B, ']')
}

// within writes one object whose members members writes.
func (e *encoder) within(members func()) {
	outer := e.Object
	e.Object = rawjson.NewObject(e.B, false)
	members()
	outer.B = e.End()
	e.Object = outer
}

// word writes a value that knows its own word, or the error that it has none.
func (e *encoder) word(name string, v interface{ MarshalText() ([]byte, error) }) {
	text, err := v.MarshalText()
	if err != nil && e.err == nil {
		e.err = err
	}
	e.Str(name, string(text))
}

func (e *encoder) op(name string, op scan.Op) {
	if op.Known() {
		e.Str(name, op.String())
		return
	}
	e.word(name, op)
}

func (e *encoder) origin(o *Origin) {
	e.Str("ev", o.Ev)
	e.Str("src", o.Src)
	e.Int("key", o.Key)
	e.OptBool("timed", o.Timed)
	e.OptBool("manual", o.Manual)
	e.OptBool("repaired", o.Repaired)
	e.OptStr("ref", o.Ref)
	e.OptStr("operator", o.Operator)
	e.OptBoolPtr("atd", o.ATD)
	e.op("op", o.Op)
}

func (e *encoder) answer(a *Answer) {
	e.Str("result", string(a.Result))
	e.OptStr("reason", string(a.Reason))
	e.OptStr("code", a.Code)
	e.OptStr("state", a.State)
	if len(a.Reasons) > 0 {
		e.Name("reasons")
		e.B = rawjson.AppendStrings(e.B, a.Reasons, false)
	}
	e.OptStr("alert_id", a.AlertID)
	e.OptStr("nmvs_trx", a.NMVSTrx)
	e.OptStr("nmvs_at", a.NMVSAt)
	e.OptStr("evidence", a.Evidence)
	e.OptBool("called", a.Called)
}

func (e *encoder) note(n *Note) {
	e.origin(&n.Origin)
	e.OptStr("k", string(n.K))
	if n.Pack != nil {
		e.Name("pack")
		e.B = n.Pack.AppendJSON(e.B)
	}
	e.OptInt("offset", int64(n.Offset))
	e.OptStr("detail", n.Detail)
	e.OptStr("trx", n.Trx)
	e.answer(&n.Answer)
}

func (e *encoder) product(p *Product) {
	if p == nil {
		return
	}
	e.Name("product")
	w := rawjson.NewObject(e.B, false)
	w.Str("scheme", string(p.Scheme))
	w.Str("code", p.Code)
	w.Str("batch", p.Batch)
	w.Str("expiry", p.Expiry)
	e.B = w.End()
}

func (e *encoder) open(o *Open) {
	e.Str("c", o.C)
	e.Str("svc", string(o.Svc))
	if o.Op != 0 {
		e.op("op", o.Op)
	}
	e.OptStr("sha", o.SHA)
	e.product(o.Product)
	e.OptBool("pre", o.Pre)
	e.OptBool("probe", o.Probe)
	if o.Packs == nil {
		e.Name("packs")
		e.B = append(e.B, "null"...)
		return
	}
	e.array("packs", len(o.Packs), func(i int) { e.openPack(&o.Packs[i]) })
}

func (e *encoder) openPack(p *OpenPack) {
	e.Str("serial", p.Serial)
	e.OptStr("c", p.C)
	e.product(p.Product)
	e.OptStr("ref_c", p.RefC)
	e.OptInt("calls", int64(p.Calls))
	e.origin(&p.Origin)
}

func (e *encoder) fact(f *Fact) {
	e.OptStr("c", f.C)
	if f.Of != 0 {
		e.Uint("of", f.Of)
	}
	e.Str("kind", string(f.Kind))
	e.OptStr("tx", f.Tx)
	e.OptInt("not_before", f.NotBefore)
	e.OptStr("svc", string(f.Svc))
	e.OptStr("who", f.Who)
	e.OptStr("why", f.Why)
	e.control(f.Control)
	if len(f.Packs) > 0 {
		e.array("packs", len(f.Packs), func(i int) { e.factPack(&f.Packs[i]) })
	}
}

// control is left to encoding/json: a person writes one now and then.
func (e *encoder) control(c *Control) {
	if c == nil {
		return
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil && e.err == nil {
		e.err = err
	}
	e.Name("control")
	e.B = append(e.B, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

func (e *encoder) factPack(p *FactPack) {
	e.Int("i", int64(p.I))
	e.Str("k", string(p.K))
	if p.To != 0 {
		e.word("to", p.To)
	}
	if p.Op != 0 {
		e.op("op", p.Op)
	}
	e.OptBool("probe", p.Probe)
	if p.Answer != nil {
		e.answer(p.Answer)
	}
}
