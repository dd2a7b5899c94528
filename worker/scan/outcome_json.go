package scan

import "decom/worker/rawjson"

// AppendJSON appends the outcome exactly as json.Marshal gives it. The error is that of an
// operation or pack that must not be written.
func (o *Outcome) AppendJSON(b []byte) ([]byte, error) {
	op, err := o.Op.MarshalText()
	if err != nil {
		return nil, err
	}
	w := rawjson.NewObject(b, true)
	w.Int("v", int64(o.V))
	w.Str("event_id", o.EventID)
	w.Str("site", o.Site)
	w.Str("device", o.Device)
	w.Str("account", o.Account)
	w.Str("op", string(op))
	if o.Pack != nil {
		w.Name("pack")
		w.B = o.Pack.AppendJSON(w.B)
	}
	w.Str("result", string(o.Result))
	w.Str("reason", string(o.Reason))
	w.Str("code", o.Code)
	w.Str("state", o.State)
	w.Name("state_reasons")
	w.B = rawjson.AppendStrings(w.B, o.StateReasons, true)
	w.Str("alert_id", o.AlertID)
	w.Str("client_trx_id", o.ClientTrxID)
	w.Str("nmvs_trx_id", o.NMVSTrxID)
	w.Int("attempts", int64(o.Attempts))
	w.Str("nmvs_at", o.NMVSAt)
	w.Str("at", o.At)
	w.OptBool("repaired", o.Repaired)
	if o.Offset != nil {
		w.Int("offset", int64(*o.Offset))
	}
	w.OptStr("detail", o.Detail)
	w.OptStr("ref", o.Ref)
	w.OptStr("operator", o.Operator)
	w.OptBoolPtr("atd_checked", o.ATD)
	w.Name("message")
	t := rawjson.NewObject(w.B, true)
	t.Str("fr", o.Message.FR)
	t.Str("en", o.Message.EN)
	w.B = t.End()
	return w.End(), nil
}

// AppendJSON appends the object of contract.md section 4, the serial included: for messages
// and records, never for logs.
func (p Pack) AppendJSON(b []byte) []byte {
	if p.IsZero() {
		return append(b, "null"...)
	}
	w := rawjson.NewObject(b, true)
	w.Str("scheme", string(p.scheme))
	w.Str("code", p.code)
	w.Str("serial", p.serial)
	w.Str("batch", p.batch)
	w.Str("expiry", p.expiry)
	return w.End()
}

// ReadPack reads the object that [Pack.AppendJSON] writes, checked as by [NewPack]. It spoils the
// reader when that says no.
func ReadPack(r *rawjson.Reader) Pack {
	f := readFields(r)
	p, err := NewPack(Scheme(f.Scheme), f.Code, f.Serial, f.Batch, f.Expiry)
	if err != nil {
		r.Spoil()
	}
	return p
}
