package nmvs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Namespaces (nmvs-interface.md 1.1); the version's number stands in between.
const (
	nsEnvelope = "http://www.w3.org/2003/05/soap-envelope"
	nsMessage  = "urn:wsdltypes.nmvs.eu:v"
	nsTypes    = "urn:types.nmvs.eu:v"
)

func messageNS(version int) string { return nsMessage + strconv.Itoa(version) + ".0" }
func typesNS(version int) string   { return nsTypes + strconv.Itoa(version) + ".0" }

// secrets is the part of a request that the digest leaves out.
type secrets struct {
	clientLoginID, userID, password, subUserID string
}

// Digest returns the SHA-256, in hex, of the request's bytes with the
// credentials left out (protocol.md S7, `sha`). Equal calls under an equal Config have
// equal digests in every process. A call that cannot be rendered has none: "".
func (c *Client) Digest(call Call) string {
	op, err := c.operation(&call)
	if err != nil {
		return ""
	}
	buf := takeBuffer()
	defer giveBuffer(buf)
	if *buf, err = c.render((*buf)[:0], &call, op, secrets{}); err != nil {
		return ""
	}
	sum := sha256.Sum256(*buf)
	return hex.EncodeToString(sum[:])
}

// authOpen and authClose stand once in a request, around the credentials: no text can hold
// them, because it is escaped.
const (
	authOpen  = "<t:Header><t:Auth>"
	authClose = "</t:Auth>"
)

// digestOf is Digest of a request that is rendered with its credentials: the bytes themselves
// are judged, and rendered once. It does not fit [ActPassword], whose body has secrets, too.
func (c *Client) digestOf(b []byte) string {
	h := sha256.New()
	if from := bytes.Index(b, []byte(authOpen)); from >= 0 {
		from += len(authOpen)
		h.Write(b[:from])
		h.Write(appendAuth(nil, secrets{}))
		b = b[from+max(bytes.Index(b[from:], []byte(authClose)), 0):]
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// render appends the whole envelope to b. It is the only writer of requests, and
// builds no copy of anything: a pack is some 30 bytes in the buffer.
func (c *Client) render(b []byte, call *Call, op Operation, s secrets) ([]byte, error) {
	if err := c.check(call, op); err != nil {
		return b, err
	}
	b = slices.Grow(b, renderedSize(call))
	b = append(b, `<soap:Envelope xmlns:soap="`...)
	b = append(b, nsEnvelope...)
	b = append(b, `" xmlns:m="`...)
	b = append(b, messageNS(c.cfg.Version)...)
	b = append(b, `" xmlns:t="`...)
	b = append(b, typesNS(c.cfg.Version)...)
	b = append(b, `"><soap:Header/><soap:Body><m:`...)
	b = append(b, op.Code...)
	b = append(b, "Request>"...)
	if op.Kind == KindPing {
		b = element(b, "Input", call.C)
	} else {
		b = c.appendHeader(b, call, s)
		b = c.appendBody(b, call, op, s)
	}
	b = append(b, "</m:"...)
	b = append(b, op.Code...)
	return append(b, "Request></soap:Body></soap:Envelope>"...), nil
}

// renderedSize is about what a request takes: growing step by step would leave twice the
// bytes of a large bulk to the collector.
func renderedSize(call *Call) int {
	per := 48 // a pack of a plain bulk
	if call.Service == Mixed {
		per = 440
	}
	return 1024 + per*len(call.Packs)
}

func (c *Client) appendHeader(b []byte, call *Call, s secrets) []byte {
	b = append(b, authOpen...)
	b = appendAuth(b, s)
	b = append(b, authClose...)
	b = append(b, "<t:UserSoftware"...)
	b = attribute(b, "name", c.cfg.Software.Name)
	b = attribute(b, "supplier", c.cfg.Software.Supplier)
	b = attribute(b, "version", c.cfg.Software.Version)
	b = append(b, "/><t:Transaction>"...)
	b = element(b, "ClientTrxId", call.C)
	b = element(b, "Language", c.cfg.Language)
	return append(b, "</t:Transaction></t:Header>"...)
}

func appendAuth(b []byte, s secrets) []byte {
	b = element(b, "ClientLoginId", s.clientLoginID)
	b = element(b, "UserId", s.userID)
	b = element(b, "Password", s.password)
	if s.subUserID != "" {
		b = element(b, "SubUserId", s.subUserID)
	}
	return b
}

func (c *Client) appendBody(b []byte, call *Call, op Operation, s secrets) []byte {
	if op.Kind == KindHeader {
		return b
	}
	b = append(b, "<t:Body>"...)
	switch op.Kind {
	case KindSingle, KindManual, KindUndo:
		b = c.appendProduct(b, &call.Product, op.Kind != KindManual)
		b = appendPack(b, call.Packs[0].Serial)
		if op.Kind == KindUndo {
			b = appendRef(b, call.Packs[0].RefC)
		}
	case KindBulk, KindBulkUndo:
		b = c.appendProduct(b, &call.Product, true)
		b = append(b, "<t:Packs>"...)
		for i := range call.Packs {
			b = appendPack(b, call.Packs[i].Serial)
		}
		b = append(b, "</t:Packs>"...)
		if op.Kind == KindBulkUndo {
			b = appendRef(b, call.Packs[0].RefC)
		}
	case KindMixed:
		b = append(b, "<t:TrxList>"...)
		for i := range call.Packs {
			b = c.appendItem(b, &call.Packs[i])
		}
		b = append(b, "</t:TrxList>"...)
	case KindResult:
		b = element(b, "RefNMVSTrxId", call.Tx)
	case KindPassword:
		b = element(b, "Password", s.password)
		b = element(b, "NewPassword", newPassword(call, s))
	case KindTerms:
		b = element(b, "Version", strconv.Itoa(call.TermsVersion))
	}
	return append(b, "</t:Body>"...)
}

// newPassword keeps the new password out of a digest, as the old one.
func newPassword(call *Call, s secrets) string {
	if s == (secrets{}) {
		return ""
	}
	return call.NewPassword
}

// appendItem writes one item of a mixed bulk; check has seen that it has an operation.
func (c *Client) appendItem(b []byte, p *Pack) []byte {
	op, _ := CodeFor(p.Op, Mixed, p.Manual, c.cfg.Version)
	name := "Item"
	switch {
	case op.Kind == KindManual:
		name = "ItemMan"
	case op.IsUndo():
		name = c.cfg.MixedUndoElement
	}
	b = append(b, "<t:TrxItem><t:"...)
	b = append(b, name...)
	b = attribute(b, "reqType", op.Code)
	b = append(b, '>')
	b = c.appendProduct(b, &p.Product, op.Kind != KindManual)
	b = appendPack(b, p.Serial)
	b = append(b, "<t:Transaction>"...)
	b = element(b, "ClientTrxId", p.C)
	b = element(b, "Language", c.cfg.Language)
	if op.IsUndo() {
		b = appendRef(b, p.RefC)
	}
	b = append(b, "</t:Transaction></t:"...)
	b = append(b, name...)
	return append(b, "></t:TrxItem>"...)
}

func (c *Client) appendProduct(b []byte, p *Product, batch bool) []byte {
	b = append(b, "<t:Product><t:ProductCode"...)
	b = attribute(b, "scheme", string(p.Scheme))
	b = append(b, '>')
	b = append(b, p.Code...)
	b = append(b, "</t:ProductCode>"...)
	if p.NHRN != "" && c.cfg.Version >= 5 {
		b = element(b, "NHRN", p.NHRN)
	}
	if batch {
		b = append(b, "<t:Batch>"...)
		b = element(b, "Id", p.Batch)
		b = element(b, "ExpDate", p.Expiry)
		b = append(b, "</t:Batch>"...)
	}
	return append(b, "</t:Product>"...)
}

func appendPack(b []byte, serial string) []byte {
	b = append(b, "<t:Pack"...)
	b = attribute(b, "sn", serial)
	return append(b, "/>"...)
}

func appendRef(b []byte, ref string) []byte {
	if ref == "" {
		return b
	}
	return element(b, "RefClientTrxId", ref)
}

func element(b []byte, name, text string) []byte {
	b = append(b, "<t:"...)
	b = append(b, name...)
	b = append(b, '>')
	b = escape(b, text)
	b = append(b, "</t:"...)
	b = append(b, name...)
	return append(b, '>')
}

func attribute(b []byte, name, text string) []byte {
	b = append(b, " t:"...)
	b = append(b, name...)
	b = append(b, `="`...)
	b = escape(b, text)
	return append(b, '"')
}

// escape appends text for element content or a double-quoted attribute.
func escape(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '"':
			b = append(b, "&quot;"...)
		case '\'':
			b = append(b, "&apos;"...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// plainText says that s may stand in XML as it is: valid UTF-8, not empty, no
// control character (a group separator would arrive as U+FFFD), no U+FFFE/U+FFFF.
func plainText(s string, longest int) bool {
	if s == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > longest {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}
