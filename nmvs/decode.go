package nmvs

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// What may be wrong with a reply. Whatever it is, the reply proves nothing: the
// call is in doubt.
var (
	// ErrReply marks a reply that is cut off, not XML, not SOAP, not of our
	// interface version, or not an answer to the operation asked for.
	ErrReply = errors.New("unusable reply")
	// ErrForeign marks a well-formed reply that answers somebody else's call or
	// names another pack. It must raise an alarm: something between us and
	// NMVS mixes up answers.
	ErrForeign = errors.New("reply belongs to another call")
	// ErrTooLong marks a reply over Config.MaxReply.
	ErrTooLong = errors.New("reply is too long")
)

func replyError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrReply, fmt.Sprintf(format, args...))
}

// reply is a reply as it was read, not judged yet.
type reply struct {
	c, tx, at, reqType string
	code               replyCode
	notices            []Notice
	product            replyProduct
	packs              []replyPack // single: at most one
	items              []replyItem
	message            string
	hasMessage         bool
	output             string
	pending            []Pending
	terms              Terms
	hasTerms           bool
	alertID            string
	fault              string // local name of the SOAP fault code
	faultText          string
}

type replyCode struct {
	given      bool
	code, desc string
}

type replyProduct struct {
	given                bool
	scheme, code         string
	batch, expiry, known string // known: ExpDateNMVS
	intermarket          bool
}

type replyPack struct {
	serial, state string
	reasons       []string
	code          replyCode
	alertID       string
}

type replyItem struct {
	reqType string
	c       string
	tx, at  string
	product replyProduct
	pack    replyPack
	packs   int
	alertID string
}

// elem is an element with a meaning for us; others are skipped.
type elem uint8

const (
	eUnknown elem = iota
	eDocument
	eEnvelope
	eSoapHeader
	eSoapBody
	eFault
	eFaultCode
	eFaultValue
	eFaultReason
	eFaultText
	eRoot
	eHeader
	eTransaction
	eClientTrxID
	eNMVSTrxID
	eTimestamp
	eReqType
	eNotification
	eBody
	eProduct
	eProductCode
	eIntermarket
	eBatch
	eBatchID
	eExpDate
	eExpDateNMVS
	ePacks
	ePack
	eReason
	eReturnCode
	eMessage
	eContent
	eTrxList
	eTrxItem
	eOutput
	eList
	eListed
	eTerms
	eTermsVersion
	eTermsText
	eTermsStart
	eTermsAccepted
)

// repeats marks the elements that may stand more than once in their parent. A
// second one of any other is an error: which of two answers counts?
func (e elem) repeats() bool {
	switch e {
	case eUnknown, eNotification, ePack, eReason, eTrxItem, eList, eListed, eFaultText:
		return true
	}
	return false
}

// leaf marks the elements that hold text only: half a text is not a text.
func (e elem) leaf() bool {
	switch e {
	case eUnknown, eDocument, eEnvelope, eSoapHeader, eSoapBody, eFault, eFaultCode, eFaultReason,
		eNotification, eReturnCode:
		return false
	}
	return children[e] == nil
}

// frame is one open element.
type frame struct {
	elem elem
	seen uint64 // set of the children met
}

// maxDepth is far above the deepest reply (11); deeper ones are hostile.
const maxDepth = 64

type decoder struct {
	x             *xml.Decoder
	types, msg    string
	root          string // local name that the body's element must have
	stack         []frame
	text          strings.Builder
	r             *reply
	ended, prolog bool
}

// decode reads one reply to the operation with that code. An error wraps
// [ErrReply], or is that of the reader. It never looks at prefixes, keeps codes,
// states and reasons as text, and skips elements and attributes it does not know.
// Siblings may come in any order.
func decode(in io.Reader, version int, code string) (*reply, error) {
	d := &decoder{
		x: xml.NewDecoder(in), types: typesNS(version), msg: messageNS(version),
		root: code + "Response", r: &reply{}, stack: make([]frame, 1, 16),
	}
	d.stack[0].elem = eDocument
	for {
		tok, err := d.x.Token()
		if err == io.EOF {
			if !d.ended {
				return nil, replyError("it ends before the envelope does")
			}
			return d.r, nil
		}
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, fmt.Errorf("%w: %w", ErrReply, err)
			}
			return nil, err
		}
		if err := d.token(tok); err != nil {
			return nil, err
		}
	}
}

func (d *decoder) token(tok xml.Token) error {
	switch t := tok.(type) {
	case xml.StartElement:
		return d.start(t)
	case xml.EndElement:
		return d.end()
	case xml.CharData:
		if len(d.stack) == 1 {
			return d.outside(t)
		}
		if d.top().elem != eUnknown || d.keepsAlert() {
			d.text.Write(t)
		}
	case xml.Directive:
		return replyError("it has a DTD")
	case xml.ProcInst:
		if t.Target != "xml" || len(d.stack) > 1 || d.ended {
			return replyError("it has a processing instruction")
		}
	}
	return nil
}

// outside allows white space around the envelope, and one byte order mark before it.
func (d *decoder) outside(t xml.CharData) error {
	s := string(t)
	if !d.ended && !d.prolog {
		s = strings.TrimPrefix(s, "\ufeff")
	}
	d.prolog = true
	if strings.Trim(s, " \t\r\n") != "" {
		return replyError("there is text outside the envelope")
	}
	return nil
}

func (d *decoder) top() *frame { return &d.stack[len(d.stack)-1] }

func (d *decoder) parent() *frame { return &d.stack[len(d.stack)-2] }

func (d *decoder) start(t xml.StartElement) error {
	up := d.top()
	if len(d.stack) > maxDepth {
		return replyError("elements are nested too deep")
	}
	if up.elem.leaf() {
		return replyError("%s stands inside a text", t.Name.Local)
	}
	e, err := d.child(up.elem, t.Name)
	if err != nil {
		return err
	}
	if !e.repeats() {
		if up.seen&(1<<e) != 0 {
			return replyError("%s stands twice in its parent", t.Name.Local)
		}
		up.seen |= 1 << e
	}
	d.stack = append(d.stack, frame{elem: e})
	d.text.Reset()
	if e == eUnknown && isAlertName(t.Name.Local) {
		d.top().seen = alertMark
	}
	return d.attributes(e, t.Attr)
}

// alertMark in the frame of an unknown element says that its text is an alert id.
const alertMark = 1 << 63

func (d *decoder) keepsAlert() bool { return d.top().seen == alertMark }

func isAlertName(local string) bool {
	switch local {
	case "AlertId", "AlertID", "alertId", "UPRC":
		return true
	}
	return false
}

// child names the element that stands in parent.
func (d *decoder) child(parent elem, n xml.Name) (elem, error) {
	switch parent {
	case eDocument:
		if n.Space != nsEnvelope || n.Local != "Envelope" || d.ended {
			return 0, replyError("the outermost element is not one SOAP 1.2 envelope")
		}
		return eEnvelope, nil
	case eEnvelope:
		if n.Space == nsEnvelope && n.Local == "Header" {
			return eSoapHeader, nil
		}
		if n.Space != nsEnvelope || n.Local != "Body" {
			return 0, replyError("%s stands in the envelope", n.Local)
		}
		return eSoapBody, nil
	case eSoapBody:
		switch {
		case d.top().seen != 0:
			return 0, replyError("the SOAP body holds more than one element")
		case n.Space == nsEnvelope && n.Local == "Fault":
			return eFault, nil
		case n.Space != d.msg:
			return 0, replyError("the answer is in namespace %q, not %q", clip(n.Space), d.msg)
		case n.Local != d.root:
			return 0, replyError("the answer is a %s, not a %s", clip(n.Local), d.root)
		}
		return eRoot, nil
	case eFault, eFaultCode, eFaultReason:
		if n.Space == nsEnvelope {
			return faultChild(parent, n.Local), nil
		}
		return eUnknown, nil
	}
	if n.Space != d.types {
		return eUnknown, nil
	}
	return typesChild(parent, n.Local), nil
}

func faultChild(parent elem, local string) elem {
	switch {
	case parent == eFault && local == "Code":
		return eFaultCode
	case parent == eFault && local == "Reason":
		return eFaultReason
	case parent == eFaultCode && local == "Value":
		return eFaultValue
	case parent == eFaultReason && local == "Text":
		return eFaultText
	}
	return eUnknown
}

// children says which elements mean something in which parent. It is never written.
var children = map[elem]map[string]elem{
	eRoot:        {"Header": eHeader, "Body": eBody, "Output": eOutput},
	eHeader:      {"Transaction": eTransaction, "Notification": eNotification},
	eTransaction: {"ClientTrxId": eClientTrxID, "NMVSTrxId": eNMVSTrxID, "Timestamp": eTimestamp, "ReqType": eReqType},
	eBody: {"Product": eProduct, "Pack": ePack, "Packs": ePacks, "ReturnCode": eReturnCode, "Message": eMessage,
		"TrxList": eTrxList, "BulkTransactionList": eList, "MixedBulkTransactionList": eList, "TermsAndConditions": eTerms},
	eProduct: {"ProductCode": eProductCode, "IntermarketFlag": eIntermarket, "Batch": eBatch},
	eBatch:   {"Id": eBatchID, "ExpDate": eExpDate, "ExpDateNMVS": eExpDateNMVS},
	ePacks:   {"Pack": ePack},
	ePack:    {"Reason": eReason, "ReturnCode": eReturnCode},
	eMessage: {"Content": eContent},
	eTrxList: {"TrxItem": eTrxItem},
	eTrxItem: {"Transaction": eTransaction, "Product": eProduct, "Pack": ePack},
	eList:    {"Transaction": eListed},
	eListed:  {"ClientTrxId": eClientTrxID, "NMVSTrxId": eNMVSTrxID},
	eTerms:   {"Version": eTermsVersion, "Text": eTermsText, "StartDate": eTermsStart, "AcceptedByUser": eTermsAccepted},
}

func typesChild(parent elem, local string) elem { return children[parent][local] }

// alertPattern is the form of an alert id inside free text (nmvs-interface.md 1.14).
var alertPattern = regexp.MustCompile(`\b[A-Z]{2}(-[0-9A-Z]{3}){5}\b`)

// parseTime reads an xs:dateTime; one without a zone is taken as UTC, and one that cannot be read is
// zero.
func parseTime(s string) time.Time {
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
