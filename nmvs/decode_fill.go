package nmvs

import (
	"bytes"
	"strconv"
)

// attributes takes the attributes of an element that just opened. Attributes are
// qualified; one without a namespace can mean nothing else.
func (d *decoder) attributes(e elem) (err error) {
	first, second := attributesOf(e)
	var v, w, alert []byte
	var haveV, haveW bool
	for i := range d.x.attrs {
		a := d.x.attr(i)
		if len(a.value) > 0 && isAlertName(a.local) && a.space != "xmlns" {
			alert = a.value
		}
		if a.space != "" && a.space != d.types {
			continue
		}
		switch string(a.local) {
		case first:
			if haveV && !bytes.Equal(a.value, v) {
				return replyError("attribute %s stands twice", first)
			}
			v, haveV = a.value, true
		case second:
			if haveW && !bytes.Equal(a.value, w) {
				return replyError("attribute %s stands twice", second)
			}
			w, haveW = a.value, true
		}
	}
	r := d.r
	switch e {
	case eNotification:
		r.notices = append(r.notices, Notice{Code: d.word(v), Desc: d.word(w)})
	case eProduct:
		d.product().given = true
	case eProductCode:
		d.product().scheme = d.word(v)
	case eTrxItem:
		if r.items == nil {
			r.items = make([]replyItem, 0, max(1, len(d.match.packs())))
		}
		it := extend(&r.items)
		it.in, it.reqType = -1, d.word(v)
	case ePack:
		err = d.openPack(v, w)
	case eReturnCode:
		*d.code() = replyCode{given: true, code: d.word(v), desc: d.word(w)}
	case eMessage:
		r.hasMessage = true
	case eListed:
		r.pending = append(r.pending, Pending{})
	case eTerms:
		r.hasTerms = true
	}
	d.alert(alert)
	return err
}

// attributesOf names the attributes of an element that mean something.
func attributesOf(e elem) (first, second string) {
	switch e {
	case eNotification:
		return "notificationCode", "notificationDesc"
	case eProductCode:
		return "scheme", ""
	case eTrxItem:
		return "reqType", ""
	case ePack:
		return "sn", "state"
	case eReturnCode:
		return "code", "desc"
	}
	return "", ""
}

func (d *decoder) openPack(serial, state []byte) error {
	r := d.r
	if it := d.item(); it != nil {
		it.pack = replyPack{pack: -1, state: d.word(state)}
		p, ok := &it.pack, false
		if p.serial, ok = d.match.serialOf(it.in, serial); !ok {
			p.serial = d.texts.add(serial)
		}
		it.packs++
		if it.packs > 1 {
			return replyError("an item holds two packs")
		}
		return nil
	}
	if d.parent().elem == eBody && len(r.packs) > 0 {
		return replyError("the body holds two packs")
	}
	if r.packs == nil {
		d.makePacks(len(d.match.packs()))
	}
	p := extend(&r.packs)
	p.state = d.word(state)
	if p.pack = d.match.find(serial); p.pack >= 0 && d.match.call.Service != Mixed {
		p.serial = d.match.packs()[p.pack].Serial
	} else {
		p.serial = d.texts.add(serial)
	}
	return nil
}

// makePacks makes room for n packs.
func (d *decoder) makePacks(n int) {
	if n > 1 && n <= pooledPacks {
		d.r.list = packLists.Get().(*[]replyPack)
		d.r.packs = *d.r.list
		return
	}
	d.r.packs = make([]replyPack, 0, max(1, n))
}

// extend adds a zero element to a list that was never longer, and returns it to be filled
// in place.
func extend[T any](list *[]T) *T {
	if n := len(*list); n < cap(*list) {
		*list = (*list)[:n+1]
	} else {
		*list = append(*list, *new(T))
	}
	return &(*list)[len(*list)-1]
}

// word makes a string of a text that replies repeat.
func (d *decoder) word(b []byte) string { return d.x.words.get(b) }

// end takes the text of the element that closes.
func (d *decoder) end() error {
	f := d.top()
	if d.keepsAlert() {
		d.alert(bytes.TrimSpace(d.text))
	}
	switch f.elem {
	case eEnvelope:
		if f.seen&(1<<eSoapBody) == 0 {
			return replyError("the envelope has no body")
		}
	case eSoapBody:
		if f.seen == 0 {
			return replyError("the SOAP body is empty")
		}
	default:
		if leaves.has(f.elem) {
			d.leaf(f.elem, d.text)
		}
	}
	d.open &^= 1 << f.elem
	d.stack = d.stack[:len(d.stack)-1]
	d.text = d.text[:0]
	return nil
}

// leaf stores the text of an element.
func (d *decoder) leaf(e elem, raw []byte) {
	r, s := d.r, bytes.TrimSpace(raw)
	switch e {
	case eClientTrxID, eNMVSTrxID, eTimestamp, eReqType:
		d.transaction(e, s)
	case eProductCode:
		d.product().code = d.word(s)
	case eIntermarket:
		d.product().intermarket = isTrue(s)
	case eBatchID:
		d.product().batch = d.word(s)
	case eExpDate:
		d.product().expiry = d.word(s)
	case eExpDateNMVS:
		d.product().known = d.word(s)
	case eReason:
		if p := d.pack(); p != nil {
			d.reason(p, d.word(s))
		}
	case eContent:
		r.message = d.texts.add(s)
	case eOutput:
		r.output = d.texts.add(raw) // an echo: not trimmed
	case eFaultValue:
		_, local, colon := bytes.Cut(s, []byte(":"))
		if !colon {
			local = s
		}
		r.fault = d.word(local)
	case eFaultText:
		if r.faultText == "" {
			r.faultText = d.texts.add(s)
		}
	case eTermsVersion:
		r.terms.Version, _ = strconv.Atoi(string(s))
	case eTermsText:
		r.terms.Text = d.texts.add(s)
	case eTermsStart:
		r.terms.Start = parseTime(s)
	case eTermsAccepted:
		r.terms.Accepted = isTrue(s)
	}
}

// isTrue reads an xs:boolean.
func isTrue(s []byte) bool { return string(s) == "true" || string(s) == "1" }

// transaction stores a text of the Transaction that is open: the call's, an item's, or one
// of a listing's.
func (d *decoder) transaction(e elem, s []byte) {
	r, it := d.r, d.item()
	switch {
	case it != nil:
		switch e {
		case eClientTrxID:
			if it.in = d.match.find(s); it.in >= 0 {
				it.c = d.match.name(&d.match.packs()[it.in])
			} else {
				it.c = d.texts.add(s)
			}
		case eNMVSTrxID:
			it.tx = d.texts.add(s)
		case eTimestamp:
			it.at = parseTime(s)
		}
	case d.within(eListed):
		p := &r.pending[len(r.pending)-1]
		switch e {
		case eClientTrxID:
			p.C = d.texts.add(s)
		case eNMVSTrxID:
			p.Tx = d.texts.add(s)
		}
	default:
		switch e {
		case eClientTrxID:
			if call := d.match.call; call != nil && call.C == string(s) {
				r.c = call.C
			} else {
				r.c = d.texts.add(s)
			}
		case eNMVSTrxID:
			r.tx = d.texts.add(s)
		case eTimestamp:
			r.at = parseTime(s)
		case eReqType:
			r.reqType = d.word(s)
		}
	}
}

// reason adds a reason to the pack. Nearly every pack has one: they share an array, each
// with room for itself only.
func (d *decoder) reason(p *replyPack, why string) {
	if p.reasons != nil {
		p.reasons = append(p.reasons, why)
		return
	}
	if len(d.reasons) == 0 {
		d.reasons = make([]string, min(max(1, len(d.match.packs())), 256))
	}
	d.reasons[0] = why
	p.reasons, d.reasons = d.reasons[:1:1], d.reasons[1:]
}

// within says whether the element e is open.
func (d *decoder) within(e elem) bool { return d.open.has(e) }

// item returns the mixed item that is open, nil if none is.
func (d *decoder) item() *replyItem {
	if !d.within(eTrxItem) {
		return nil
	}
	return &d.r.items[len(d.r.items)-1]
}

// product returns the product that is open.
func (d *decoder) product() *replyProduct {
	if it := d.item(); it != nil {
		return &it.product
	}
	return &d.r.product
}

// pack returns the pack that is open, nil if none is.
func (d *decoder) pack() *replyPack {
	if !d.within(ePack) {
		return nil
	}
	if it := d.item(); it != nil {
		return &it.pack
	}
	return &d.r.packs[len(d.r.packs)-1]
}

// code returns the place of the return code that opens.
func (d *decoder) code() *replyCode {
	if p := d.pack(); p != nil {
		return &p.code
	}
	return &d.r.code
}

// alert stores an alert id with the innermost thing that is open.
func (d *decoder) alert(text []byte) {
	if len(text) == 0 {
		return
	}
	id := d.texts.add(text)
	switch p, it := d.pack(), d.item(); {
	case p != nil:
		p.alertID = id
	case it != nil:
		it.alertID = id
	default:
		d.r.alertID = id
	}
}
