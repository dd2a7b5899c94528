package nmvs

import (
	"encoding/xml"
	"strconv"
	"strings"
)

// attributes takes the attributes of an element that just opened.
func (d *decoder) attributes(e elem, attrs []xml.Attr) error {
	var err error
	get := func(local string) string {
		v, twice := "", false
		for _, a := range attrs {
			// Attributes are qualified; one without a namespace can mean nothing else.
			if a.Name.Local == local && (a.Name.Space == d.types || a.Name.Space == "") {
				if twice && a.Value != v {
					err = replyError("attribute %s stands twice", local)
				}
				v, twice = a.Value, true
			}
		}
		return v
	}
	r := d.r
	switch e {
	case eNotification:
		r.notices = append(r.notices, Notice{Code: get("notificationCode"), Desc: get("notificationDesc")})
	case eProduct:
		d.product().given = true
	case eProductCode:
		d.product().scheme = get("scheme")
	case eTrxItem:
		r.items = append(r.items, replyItem{reqType: get("reqType")})
	case ePack:
		p := replyPack{serial: get("sn"), state: get("state")}
		if it := d.item(); it != nil {
			it.pack = p
			it.packs++
			if it.packs > 1 {
				return replyError("an item holds two packs")
			}
			break
		}
		if d.parent().elem == eBody && len(r.packs) > 0 {
			return replyError("the body holds two packs")
		}
		r.packs = append(r.packs, p)
	case eReturnCode:
		*d.code() = replyCode{given: true, code: get("code"), desc: get("desc")}
	case eMessage:
		r.hasMessage = true
	case eListed:
		r.pending = append(r.pending, Pending{})
	case eTerms:
		r.hasTerms = true
	}
	for _, a := range attrs {
		if isAlertName(a.Name.Local) && a.Name.Space != "xmlns" {
			d.alert(a.Value)
		}
	}
	return err
}

// end takes the text of the element that closes.
func (d *decoder) end() error {
	f := d.top()
	if d.keepsAlert() {
		d.alert(strings.TrimSpace(d.text.String()))
	}
	switch f.elem {
	case eEnvelope:
		if f.seen&(1<<eSoapBody) == 0 {
			return replyError("the envelope has no body")
		}
		d.ended = true
	case eSoapBody:
		if f.seen == 0 {
			return replyError("the SOAP body is empty")
		}
	case eUnknown:
	default:
		d.leaf(f.elem, d.text.String())
	}
	d.stack = d.stack[:len(d.stack)-1]
	d.text.Reset()
	return nil
}

// leaf stores the text of an element.
func (d *decoder) leaf(e elem, raw string) {
	r, s := d.r, strings.TrimSpace(raw)
	switch e {
	case eClientTrxID:
		*d.transaction(&r.c, func(it *replyItem) *string { return &it.c }, func(p *Pending) *string { return &p.C }) = s
	case eNMVSTrxID:
		*d.transaction(&r.tx, func(it *replyItem) *string { return &it.tx }, func(p *Pending) *string { return &p.Tx }) = s
	case eTimestamp:
		*d.transaction(&r.at, func(it *replyItem) *string { return &it.at }, nil) = s
	case eReqType:
		if d.item() == nil {
			r.reqType = s
		}
	case eProductCode:
		d.product().code = s
	case eIntermarket:
		d.product().intermarket = s == "true" || s == "1"
	case eBatchID:
		d.product().batch = s
	case eExpDate:
		d.product().expiry = s
	case eExpDateNMVS:
		d.product().known = s
	case eReason:
		if p := d.pack(); p != nil {
			p.reasons = append(p.reasons, s)
		}
	case eContent:
		r.message = s
	case eOutput:
		r.output = raw // an echo: not trimmed
	case eFaultValue:
		_, local, colon := strings.Cut(s, ":")
		if !colon {
			local = s
		}
		r.fault = local
	case eFaultText:
		if r.faultText == "" {
			r.faultText = s
		}
	case eTermsVersion:
		r.terms.Version, _ = strconv.Atoi(s)
	case eTermsText:
		r.terms.Text = s
	case eTermsStart:
		r.terms.Start = parseTime(s)
	case eTermsAccepted:
		r.terms.Accepted = s == "true" || s == "1"
	}
}

// within says whether the element e is open.
func (d *decoder) within(e elem) bool {
	for i := range d.stack {
		if d.stack[i].elem == e {
			return true
		}
	}
	return false
}

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

// transaction picks the place for a text of the Transaction that is open.
func (d *decoder) transaction(top *string, item func(*replyItem) *string, listed func(*Pending) *string) *string {
	if it := d.item(); it != nil {
		return item(it)
	}
	if listed != nil && d.within(eListed) {
		return listed(&d.r.pending[len(d.r.pending)-1])
	}
	return top
}

// alert stores an alert id with the innermost thing that is open.
func (d *decoder) alert(id string) {
	if id == "" {
		return
	}
	switch p, it := d.pack(), d.item(); {
	case p != nil:
		p.alertID = id
	case it != nil:
		it.alertID = id
	default:
		d.r.alertID = id
	}
}
