package sim

import (
	"strconv"
	"time"

	"decom/nmvs"
)

// result is what a call came to, ready to be written as a reply. It holds
// nothing that may still change.
type result struct {
	code    string
	http    int // status without a SOAP reply, 0 for a reply
	retry   Duration
	tx      txID
	at      time.Time
	notes   []notice
	view    *packView
	bulk    *bulk
	list    []listed
	terms   *terms
	row     uint64
	set     *Settings
	style   int
	fault   string // SOAP fault: Sender or Receiver
	message string
	letter  bool // a Message in place of a bulk's packs
}

type terms struct {
	version  int
	accepted bool
}

// writer appends XML. Its three prefixes are part of what a client must not
// care about.
type writer struct {
	b          []byte
	e, t, m    string // with colon: envelope, types, messages
	turned     bool   // attributes in another order
	alertPlace string
	quirks     Quirks
}

func newWriter(b []byte, r *result) *writer {
	w := &writer{b: b, e: "soap:", t: "ns1:", m: "ns2:", alertPlace: r.set.Rules.AlertPlace, quirks: r.set.Quirks}
	switch r.style {
	case 1:
		w.e, w.t, w.m, w.turned = "env:", "b:", "a:", true
	case 2:
		w.t = "" // elements in the default namespace; attributes still need a prefix
	}
	return w
}

// at is the prefix of attributes: the default namespace does not reach them.
func (w *writer) at() string {
	if w.t == "" {
		return "q:"
	}
	return w.t
}

func (w *writer) raw(s ...string) {
	for _, x := range s {
		w.b = append(w.b, x...)
	}
}

func (w *writer) open(name string)  { w.raw("<", w.t, name, ">") }
func (w *writer) close(name string) { w.raw("</", w.t, name, ">") }

func (w *writer) leaf(name, text string) {
	w.open(name)
	w.escape(text)
	w.close(name)
}

func (w *writer) leafBytes(name string, text []byte) {
	w.open(name)
	w.b = escape(w.b, text)
	w.close(name)
}

func (w *writer) attr(name, value string) {
	w.raw(" ", w.at(), name, `="`)
	w.escape(value)
	w.b = append(w.b, '"')
}

// attrs writes two attributes, the other way round in style 1.
func (w *writer) attrs(n1, v1, n2, v2 string) {
	if w.turned {
		n1, v1, n2, v2 = n2, v2, n1, v1
	}
	w.attr(n1, v1)
	w.attr(n2, v2)
}

func (w *writer) escape(s string) { w.b = escape(w.b, s) }

func escape[T string | []byte](b []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '"':
			b = append(b, "&quot;"...)
		default:
			b = append(b, c)
		}
	}
	return b
}

func (w *writer) timestamp(t time.Time) {
	w.open("Timestamp")
	w.b = t.AppendFormat(w.b, "2006-01-02T15:04:05.000Z07:00")
	w.close("Timestamp")
}

// reply writes the whole envelope.
func (r *result) reply(b []byte, q *request) []byte {
	w := newWriter(b, r)
	w.raw(`<`, w.e, `Envelope xmlns:`, w.e[:len(w.e)-1], `="`, envelopeNS, `">`)
	if r.style == 1 {
		w.raw(`<`, w.e, `Header/>`)
	}
	w.raw(`<`, w.e, `Body>`)
	if r.fault != "" {
		w.fault(r)
	} else {
		w.message(r, q)
	}
	w.raw(`</`, w.e, `Body></`, w.e, `Envelope>`)
	return w.b
}

func (w *writer) fault(r *result) {
	w.raw(`<`, w.e, `Fault><`, w.e, `Code><`, w.e, `Value>`, w.e, r.fault, `</`, w.e, `Value></`, w.e, `Code><`, w.e, `Reason><`, w.e, `Text xml:lang="en">`)
	w.escape(r.message)
	w.raw(`</`, w.e, `Text></`, w.e, `Reason></`, w.e, `Fault>`)
}

func (w *writer) message(r *result, q *request) {
	v := strconv.Itoa(q.version)
	types := "urn:types.nmvs.eu:v" + v + ".0"
	root := w.m + q.op.Code + "Response"
	w.raw("<", root, ` xmlns:`, w.m[:len(w.m)-1], `="urn:wsdltypes.nmvs.eu:v`, v, `.0"`)
	if w.t == "" {
		w.raw(` xmlns="`, types, `" xmlns:q="`, types, `">`)
	} else {
		w.raw(` xmlns:`, w.t[:len(w.t)-1], `="`, types, `">`)
	}
	if q.op.Kind == nmvs.KindPing {
		w.leafBytes("Output", q.input)
	} else {
		w.header(r, q)
		w.open("Body")
		w.body(r, q)
		alert := ""
		if r.view != nil {
			alert = r.view.alertID
		}
		w.code(r.code, alert)
		w.close("Body")
	}
	w.raw("</", root, ">")
}

func (w *writer) header(r *result, q *request) {
	w.open("Header")
	w.open("Auth")
	w.leafBytes("ClientLoginId", q.client)
	w.leafBytes("UserId", q.user)
	w.close("Auth")
	w.open("Transaction")
	w.leafBytes("Language", q.lang)
	w.leafBytes("ClientTrxId", q.cid)
	w.open("NMVSTrxId")
	w.b = r.tx.append(w.b)
	w.close("NMVSTrxId")
	w.timestamp(r.at)
	if r.bulk != nil {
		w.leaf("ReqType", r.bulk.op.Code)
	}
	w.close("Transaction")
	for _, n := range r.notes {
		w.raw("<", w.t, "Notification")
		w.attrs("notificationCode", n.code, "notificationDesc", n.desc)
		w.raw("/>")
	}
	w.surprise()
	w.close("Header")
}

// surprise is an element that no schema knows.
func (w *writer) surprise() {
	if w.quirks.UnknownElements {
		w.raw("<", w.t, "FutureThing ", w.at(), `kind="new"><`, w.t, "Inner>1</", w.t, "Inner></", w.t, "FutureThing>")
	}
}

func (w *writer) body(r *result, q *request) {
	switch {
	case r.view != nil && !(w.quirks.NoPack && r.code != codeSuccess):
		w.product(r.view)
		w.pack(r.view, false)
		if r.view.alertID != "" && w.alertPlace == "element" {
			w.leaf("AlertId", r.view.alertID)
		}
		w.surprise()
	case r.letter:
		w.open("Message")
		w.open("From")
		w.leafBytes("ClientLoginId", q.client)
		w.leafBytes("UserId", q.user)
		w.close("From")
		w.leaf("Content", "The simulator was told to write a letter.")
		w.close("Message")
	case r.bulk != nil && r.bulk.op.Service == nmvs.Mixed:
		w.open("TrxList")
		for i := range r.bulk.results {
			w.item(&r.bulk.results[i])
		}
		w.close("TrxList")
	case r.bulk != nil && len(r.bulk.results) > 0:
		w.product(&r.bulk.results[0].view)
		w.open("Packs")
		for i := range r.bulk.results {
			w.pack(&r.bulk.results[i].view, true)
		}
		w.close("Packs")
	case len(r.list) > 0:
		w.listing(r.list, "BulkTransactionList", false)
		w.listing(r.list, "MixedBulkTransactionList", true)
	case r.terms != nil:
		w.open("TermsAndConditions")
		w.leaf("Version", strconv.Itoa(r.terms.version))
		w.leaf("Text", "Terms and conditions of the simulator, version "+strconv.Itoa(r.terms.version)+".")
		w.leaf("StartDate", "2026-01-01T00:00:00Z")
		w.leaf("AcceptedByUser", strconv.FormatBool(r.terms.accepted))
		w.close("TermsAndConditions")
	}
}

func (w *writer) listing(list []listed, name string, mixed bool) {
	opened := false
	for _, l := range list {
		if l.mixed != mixed {
			continue
		}
		if !opened {
			w.open(name)
			opened = true
		}
		w.open("Transaction")
		w.leaf("ClientTrxId", l.cid)
		w.leaf("NMVSTrxId", l.tx.String())
		w.close("Transaction")
	}
	if opened {
		w.close(name)
	}
}

func (w *writer) product(v *packView) {
	w.open("Product")
	w.raw("<", w.t, "ProductCode")
	w.attr("scheme", v.scheme)
	w.raw(">", v.code, "</", w.t, "ProductCode>")
	if v.foreign {
		w.leaf("IntermarketFlag", "true")
	}
	if v.nhrn != "" {
		w.leaf("NHRN", v.nhrn)
	}
	if v.batch != "" {
		w.open("Batch")
		w.leaf("Id", v.batch)
		w.leaf("ExpDate", v.expiry)
		if v.lastDay != "" {
			w.leaf("ExpDateNMVS", v.lastDay)
		}
		w.close("Batch")
	}
	w.close("Product")
}

// pack writes one pack; inside bulks it carries its own return code.
func (w *writer) pack(v *packView, inBulk bool) {
	w.raw("<", w.t, "Pack")
	w.attrs("sn", v.serial, "state", v.state)
	reasons := w.reasons(v)
	if len(reasons) == 0 && !inBulk {
		w.raw("/>")
		return
	}
	w.raw(">")
	for _, r := range reasons {
		w.leaf("Reason", r)
	}
	if inBulk {
		w.code(v.ret, v.alertID)
	}
	w.close("Pack")
}

func (w *writer) reasons(v *packView) []string {
	if v.state != "INACTIVE" || w.quirks.UnknownReason == "" && w.quirks.Reasons == 0 {
		return v.reasons
	}
	rs := append([]string(nil), v.reasons...)
	if w.quirks.UnknownReason != "" {
		rs = append(rs, w.quirks.UnknownReason)
	}
	for len(rs) < w.quirks.Reasons {
		rs = append(rs, "UNKNOWN")
	}
	return rs
}

func (w *writer) item(r *bulkResult) {
	w.raw("<", w.t, "TrxItem")
	w.attr("reqType", r.op.Code)
	w.raw(">")
	w.open("Transaction")
	w.leaf("Language", r.lang)
	w.leaf("ClientTrxId", r.cid)
	w.open("NMVSTrxId")
	w.b = r.tx.append(w.b)
	w.close("NMVSTrxId")
	w.timestamp(r.at)
	w.close("Transaction")
	w.product(&r.view)
	w.pack(&r.view, true)
	w.close("TrxItem")
}

// code writes a ReturnCode, with the alert's id where the setting wants it.
func (w *writer) code(code, alertID string) {
	desc := descs[code]
	if alertID != "" && w.alertPlace == "desc" {
		desc += " Alert " + alertID + "."
	}
	w.raw("<", w.t, "ReturnCode")
	if alertID != "" && w.alertPlace == "attribute" && w.turned {
		w.attr("alertId", alertID)
	}
	if w.quirks.NoDesc || desc == "" {
		w.attr("code", code)
	} else {
		w.attrs("code", code, "desc", desc)
	}
	if alertID != "" && w.alertPlace == "attribute" && !w.turned {
		w.attr("alertId", alertID)
	}
	if w.quirks.UnknownElements {
		w.attr("severity", "9")
	}
	w.raw("/>")
}
