package nmvs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
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
	c, tx, reqType string
	at             time.Time // zero if none could be read
	code           replyCode
	notices        []Notice
	product        replyProduct
	packs          []replyPack  // single: at most one
	list           *[]replyPack // of packLists, where packs is; nil: it is not from there
	items          []replyItem
	message        string
	hasMessage     bool
	output         string
	pending        []Pending
	terms          Terms
	hasTerms       bool
	alertID        string
	fault          string // local name of the SOAP fault code
	faultText      string
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
	pack          int // in a bulk: place of the serial in Call.Packs; -1: it has none
	serial, state string
	reasons       []string
	code          replyCode
	alertID       string
}

type replyItem struct {
	in      int // place of c in Call.Packs; -1: it has none
	reqType string
	c, tx   string
	at      time.Time
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
	eCount
)

// elems is a set of elements.
type elems uint64

func (s elems) has(e elem) bool { return s&(1<<e) != 0 }

// Sets of elements.
const (
	// repeated may stand more than once in their parent. A second one of any other is
	// an error: which of two answers counts?
	repeated elems = 1<<eUnknown | 1<<eNotification | 1<<ePack | 1<<eReason | 1<<eTrxItem | 1<<eList | 1<<eListed | 1<<eFaultText
	// counted say something even without attributes and text.
	counted elems = 1<<eNotification | 1<<eProduct | 1<<eTrxItem | 1<<ePack | 1<<eReturnCode | 1<<eMessage | 1<<eListed | 1<<eTerms
)

// leaves hold text only: half a text is not a text. It is never written.
var leaves = func() (s elems) {
	for e := range elem(eCount) {
		switch e {
		case eUnknown, eDocument, eEnvelope, eSoapHeader, eSoapBody, eFault, eFaultCode, eFaultReason,
			eNotification, eReturnCode:
		default:
			if children[e] == nil {
				s |= 1 << e
			}
		}
	}
	return s
}()

// frame is one open element.
type frame struct {
	elem elem
	seen elems // the children met
}

// decoder makes a reply of a scanner's tokens. Decoders are pooled: what one reply
// needed is there for the next. Nothing of one reply is looked at for another but words
// that are equal.
type decoder struct {
	x          scanner
	version    int
	types, msg string // namespaces of version
	root       string // local name that the body's element must have, without "Response"
	stack      []frame
	open       elems  // those that are open
	text       []byte // of the innermost element, if it has a meaning
	r          *reply
	match      matcher
	texts      slab
	reasons    []string // room for those of the packs to come
}

// packLists holds lists of packs for replies to come; those of large bulks are left to
// the collector.
var packLists = sync.Pool{New: func() any { return new(make([]replyPack, 0, pooledPacks)) }}

// pooledPacks is the usual size of a bulk.
const pooledPacks = 500

// release gives the reply's list of packs back: nothing of it may be used any more.
func (r *reply) release() {
	if r.list == nil || cap(r.packs) > pooledPacks {
		return
	}
	clear(r.packs)
	*r.list = r.packs[:0]
	packLists.Put(r.list)
	r.list, r.packs = nil, nil
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decode reads one reply to the operation with that code. An error wraps
// [ErrReply], or is that of the reader. It never looks at prefixes, keeps codes,
// states and reasons as text, and skips elements and attributes it does not know.
// Siblings may come in any order. Of the call it uses ids and serials, to find them
// again in the reply without a copy; nil is allowed.
func decode(in io.Reader, version int, code string, call *Call) (*reply, error) {
	d := decoders.Get().(*decoder)
	defer func() {
		d.release()
		decoders.Put(d)
	}()
	if d.version != version {
		// Of the scanner's words, so that comparing with what it reads is comparing places.
		d.version, d.types, d.msg = version, d.word([]byte(typesNS(version))), d.word([]byte(messageNS(version)))
	}
	d.x.reset(in)
	d.root, d.r, d.open = code, new(reply), 0
	d.stack = append(d.stack[:0], frame{elem: eDocument})
	d.match.reset(call)
	for {
		tok, err := d.x.next()
		if err != nil {
			switch {
			case err == io.EOF:
				return d.r, nil
			case errors.Is(err, io.ErrUnexpectedEOF):
				return nil, fmt.Errorf("%w: %w", ErrReply, err)
			}
			return nil, err
		}
		switch tok {
		case tokenStart:
			err = d.start()
		case tokenEnd:
			err = d.end()
		case tokenText:
			if e := d.top().elem; d.keepsAlert() || leaves.has(e) {
				d.text = append(d.text, d.x.text...)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// keepText is the room for a text that stays with a pooled decoder, bytes.
const keepText = 16 << 10

// release lets go of what belongs to the reply and the call, and of what has grown large.
func (d *decoder) release() {
	d.x.release()
	d.r, d.texts, d.reasons = nil, slab{}, nil
	d.match.reset(nil)
	if cap(d.text) > keepText {
		d.text = nil
	}
}

func (d *decoder) top() *frame { return &d.stack[len(d.stack)-1] }

func (d *decoder) parent() *frame { return &d.stack[len(d.stack)-2] }

func (d *decoder) start() error {
	up, n := d.top(), &d.x.name
	if leaves.has(up.elem) {
		return replyError("%s stands inside a text", clip(string(n.local)))
	}
	e, err := d.child(up.elem, n)
	if err != nil {
		return err
	}
	if !repeated.has(e) {
		if up.seen&(1<<e) != 0 {
			return replyError("%s stands twice in its parent", clip(string(n.local)))
		}
		up.seen |= 1 << e
	}
	f := frame{elem: e}
	if e == eUnknown && isAlertName(n.local) {
		f.seen = alertMark
	}
	d.stack = append(d.stack, f)
	d.open |= 1 << e
	d.text = d.text[:0]
	if len(d.x.attrs) == 0 && !counted.has(e) {
		return nil
	}
	return d.attributes(e)
}

// alertMark in the frame of an unknown element says that its text is an alert id.
const alertMark = 1 << 63

func (d *decoder) keepsAlert() bool { return d.top().seen == alertMark }

func isAlertName(local []byte) bool {
	switch string(local) {
	case "AlertId", "AlertID", "alertId", "UPRC":
		return true
	}
	return false
}

// child names the element that stands in parent.
func (d *decoder) child(parent elem, n *xmlName) (elem, error) {
	switch parent {
	case eDocument:
		if n.space != nsEnvelope || string(n.local) != "Envelope" {
			return 0, replyError("the outermost element is not one SOAP 1.2 envelope")
		}
		return eEnvelope, nil
	case eEnvelope:
		if n.space == nsEnvelope && string(n.local) == "Header" {
			return eSoapHeader, nil
		}
		if n.space != nsEnvelope || string(n.local) != "Body" {
			return 0, replyError("%s stands in the envelope", clip(string(n.local)))
		}
		return eSoapBody, nil
	case eSoapBody:
		local, isResponse := bytes.CutSuffix(n.local, []byte("Response"))
		switch {
		case d.top().seen != 0:
			return 0, replyError("the SOAP body holds more than one element")
		case n.space == nsEnvelope && string(n.local) == "Fault":
			return eFault, nil
		case n.space != d.msg:
			return 0, replyError("the answer is in namespace %q, not %q", clip(n.space), d.msg)
		case !isResponse || string(local) != d.root:
			return 0, replyError("the answer is a %s, not a %sResponse", clip(string(n.local)), d.root)
		}
		return eRoot, nil
	case eFault, eFaultCode, eFaultReason:
		if n.space == nsEnvelope {
			return faultChild(parent, string(n.local)), nil
		}
		return eUnknown, nil
	}
	if children[parent] == nil || n.space != d.types {
		return eUnknown, nil
	}
	for i := range children[parent] {
		if c := &children[parent][i]; c.local == string(n.local) {
			return c.elem, nil
		}
	}
	return eUnknown, nil
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

// childName is an element in its parent, in the namespace of types.
type childName struct {
	local string
	elem  elem
}

// children says which elements mean something in which parent. It is never written.
var children = [eCount][]childName{
	eRoot:        {{"Header", eHeader}, {"Body", eBody}, {"Output", eOutput}},
	eHeader:      {{"Transaction", eTransaction}, {"Notification", eNotification}},
	eTransaction: {{"ClientTrxId", eClientTrxID}, {"NMVSTrxId", eNMVSTrxID}, {"Timestamp", eTimestamp}, {"ReqType", eReqType}},
	eBody: {{"Product", eProduct}, {"Pack", ePack}, {"Packs", ePacks}, {"ReturnCode", eReturnCode}, {"Message", eMessage},
		{"TrxList", eTrxList}, {"BulkTransactionList", eList}, {"MixedBulkTransactionList", eList}, {"TermsAndConditions", eTerms}},
	eProduct: {{"ProductCode", eProductCode}, {"IntermarketFlag", eIntermarket}, {"Batch", eBatch}},
	eBatch:   {{"Id", eBatchID}, {"ExpDate", eExpDate}, {"ExpDateNMVS", eExpDateNMVS}},
	ePacks:   {{"Pack", ePack}},
	ePack:    {{"Reason", eReason}, {"ReturnCode", eReturnCode}},
	eMessage: {{"Content", eContent}},
	eTrxList: {{"TrxItem", eTrxItem}},
	eTrxItem: {{"Transaction", eTransaction}, {"Product", eProduct}, {"Pack", ePack}},
	eList:    {{"Transaction", eListed}},
	eListed:  {{"ClientTrxId", eClientTrxID}, {"NMVSTrxId", eNMVSTrxID}},
	eTerms:   {{"Version", eTermsVersion}, {"Text", eTermsText}, {"StartDate", eTermsStart}, {"AcceptedByUser", eTermsAccepted}},
}

// alertPattern is the form of an alert id inside free text (nmvs-interface.md 1.14).
var alertPattern = regexp.MustCompile(`\b[A-Z]{2}(-[0-9A-Z]{3}){5}\b`)

// parseTime reads an xs:dateTime; one without a zone is taken as UTC, and one that cannot be read is
// zero.
func parseTime(b []byte) time.Time {
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, string(b)); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
