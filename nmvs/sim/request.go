package sim

import (
	"strconv"

	"decom/nmvs"
)

const envelopeNS = "http://www.w3.org/2003/05/soap-envelope"

// request is one call, read and checked. Its slices point into the body.
type request struct {
	op      *operation
	version int

	client, user, password []byte
	cid, lang              []byte
	headed                 bool // the header was read, so a reply can echo it

	product productRef
	serials [][]byte // one for the single kinds
	ref     []byte   // RefClientTrxId
	items   []item   // mixed
	refTx   []byte   // RefNMVSTrxId
	input   []byte   // ping
	current []byte   // G445
	fresh   []byte   // G445
	terms   int      // G483

	cert string // common name of the client certificate
}

// productRef is how a request names product and batch.
type productRef struct {
	scheme, code  []byte
	batch, expiry []byte // nil in a manual request
}

// item is one entry of a G195.
type item struct {
	op      *operation
	product productRef
	serial  []byte
	cid     []byte
	lang    []byte
	ref     []byte
}

// operation is a row of the shared table with what the simulator looks up often.
type operation struct {
	nmvs.Operation
	changes, undo, submit bool
	i                     uint16
}

// table finds operations by the name of the request element and by code.
type table struct {
	byRoot, byCode map[string]*operation
	all            []*operation
}

func newTable(version int) *table {
	t := &table{byRoot: map[string]*operation{}, byCode: map[string]*operation{}}
	for _, o := range nmvs.Operations() {
		if o.V2Only && version != 2 || o.Code == "G123" && version == 2 { // 1.8
			continue
		}
		t.add(o)
	}
	return t
}

func (t *table) add(o nmvs.Operation) *operation {
	p := &operation{Operation: o, i: uint16(len(t.all))}
	p.undo = o.Kind == nmvs.KindUndo || o.Kind == nmvs.KindBulkUndo
	p.submit = o.Kind == nmvs.KindBulk || o.Kind == nmvs.KindBulkUndo || o.Kind == nmvs.KindMixed
	p.changes = o.Reason != ""
	t.all = append(t.all, p)
	t.byCode[o.Code] = p
	t.byRoot[o.Code+"Request"] = p
	return p
}

// limits that the parser needs and that can change while running.
type parseOptions struct {
	version   int
	mixedUndo string // Item, ItemUndo, both
	list      *operation
	items     map[string]*operation
}

const maxPacks = 100_000

// parse reads a whole request. The request is never nil: on a refusal it holds
// what was read before, for the echo.
func parse(body []byte, t *table, o parseOptions) (*request, *refusal) {
	q := &request{version: o.version}
	lx, err := newLexer(body)
	if err != nil {
		return q, &refusal{codeNotXML, err.Error()}
	}
	v := strconv.Itoa(o.version)
	r := &reader{lexer: lx, types: "urn:types.nmvs.eu:v" + v + ".0", version: o.version}
	r.envelope(q, "urn:wsdltypes.nmvs.eu:v"+v+".0", t, o)
	if r.bad != nil {
		r.drain()
	}
	return q, r.bad
}

func (r *reader) envelope(q *request, messages string, t *table, o parseOptions) {
	r.enter(envelopeNS, "Envelope", 0)
	if r.is(envelopeNS, "Header") {
		r.skip()
	}
	r.enter(envelopeNS, "Body", 0)
	tok, ok := r.peek()
	if !ok || tok != tokStart {
		r.fail("the SOAP body is empty")
		return
	}
	root := string(r.name.local)
	if q.op = t.byRoot[root]; q.op == nil && o.list != nil && root == o.list.Code+"Request" {
		q.op = o.list
	}
	if q.op == nil {
		r.fail("%s is not a request", root)
		return
	}
	if !r.enter(messages, root, 0) {
		return
	}
	r.message(q, o)
	r.out(root)
	r.out("soap:Body")
	r.out("soap:Envelope")
	if tok, ok := r.peek(); ok && tok != tokEOF {
		r.fail("something follows the envelope")
	}
}

// skip passes over one element with all it holds.
func (r *reader) skip() {
	depth := len(r.open) - 1
	r.peeked = false
	for r.bad == nil && (len(r.open) > depth || r.closing) {
		if _, err := r.next(); err != nil {
			r.bad = &refusal{codeNotXML, err.Error()}
		}
	}
}

func (r *reader) message(q *request, o parseOptions) {
	kind := q.op.Kind
	if kind == nmvs.KindPing {
		q.input = r.free("Input", 1, 100)
		return
	}
	r.header(q)
	if kind == nmvs.KindHeader {
		return
	}
	r.in("Body")
	switch kind {
	case nmvs.KindSingle, nmvs.KindUndo, nmvs.KindManual:
		q.product = r.product(kind == nmvs.KindManual)
		q.serials = append(make([][]byte, 0, 1), r.pack())
	case nmvs.KindBulk, nmvs.KindBulkUndo:
		q.product = r.product(false)
		q.serials = r.packs()
	case nmvs.KindResult:
		q.refTx = r.leaf("RefNMVSTrxId", idChars, 1, 32)
	case nmvs.KindMixed:
		q.items = r.list(q, o)
	case nmvs.KindPassword:
		q.current = r.free("Password", 8, 60)
		q.fresh = r.free("NewPassword", 1, 60) // its policy has codes of its own (PMS_04)
	case nmvs.KindTerms:
		n, err := strconv.Atoi(string(r.leaf("Version", digitChars, 1, 9)))
		if r.bad == nil && (err != nil || n < 1) {
			r.fail("Version must be a positive number")
		}
		q.terms = n
	}
	if q.op.undo && r.is(r.types, "RefClientTrxId") {
		q.ref = r.leaf("RefClientTrxId", idChars, 1, 32)
	}
	r.out("Body")
}

func (r *reader) header(q *request) {
	r.in("Header")
	n := 0
	if r.version == 2 {
		n = 1 // authMethod, which nobody sends
	}
	r.enter(r.types, "Auth", n)
	q.client = r.leaf("ClientLoginId", idChars, 1, 20)
	q.user = r.leaf("UserId", idChars, 4, 20)
	q.password = r.free("Password", 8, 60)
	if r.is(r.types, "SubUserId") {
		r.free("SubUserId", 1, 255)
	}
	r.out("Auth")
	if r.enter(r.types, "UserSoftware", 3) {
		r.length("name", 255)
		r.length("supplier", 255)
		r.length("version", 10)
		r.out("UserSoftware")
	}
	r.in("Transaction")
	q.cid = r.leaf("ClientTrxId", idChars, 1, 32)
	q.lang = r.leaf("Language", lowerChars, 3, 3)
	r.out("Transaction")
	r.out("Header")
	q.headed = r.bad == nil
}

func (r *reader) length(attr string, max int) {
	if v := r.take(attr); r.bad == nil && (len(v) < 1 || len([]rune(string(v))) > max) {
		r.fail("%s must be 1 to %d characters", attr, max)
	}
}

func (r *reader) product(manual bool) (p productRef) {
	r.in("Product")
	if r.enter(r.types, "ProductCode", 1) {
		p.scheme = r.take("scheme")
		p.code = r.content("ProductCode")
		r.check("ProductCode", p.code, digitChars, 12, 22)
		if r.bad == nil && string(p.scheme) != "GTIN" && string(p.scheme) != "PPN" {
			r.fail("scheme must be GTIN or PPN")
		}
	}
	if r.version >= 5 && r.is(r.types, "NHRN") {
		r.leaf("NHRN", nhrnChars, 8, 20)
	}
	if !manual {
		r.in("Batch")
		p.batch = r.leaf("Id", serialChars, 1, 20)
		p.expiry = r.leaf("ExpDate", digitChars, 6, 6)
		r.out("Batch")
	}
	r.out("Product")
	return p
}

func (r *reader) pack() []byte {
	if !r.enter(r.types, "Pack", 1) {
		return nil
	}
	sn := r.take("sn")
	r.check("sn", sn, serialChars, 1, 20)
	r.out("Pack")
	return sn
}

func (r *reader) packs() (sns [][]byte) {
	r.in("Packs")
	seen := map[string]struct{}{}
	for r.is(r.types, "Pack") {
		sn := r.pack()
		if r.bad != nil {
			return nil
		}
		if _, twice := seen[string(sn)]; twice {
			r.fail("one sn stands twice in Packs")
			return nil
		}
		seen[string(sn)] = struct{}{}
		if sns = append(sns, sn); len(sns) > maxPacks {
			r.fail("more than %d packs", maxPacks)
			return nil
		}
	}
	if len(sns) == 0 {
		r.fail("Packs is empty")
	}
	r.out("Packs")
	return sns
}

func (r *reader) list(q *request, o parseOptions) (items []item) {
	r.in("TrxList")
	for r.is(r.types, "TrxItem") {
		r.in("TrxItem")
		it := r.item(o)
		r.out("TrxItem")
		if r.bad != nil {
			return nil
		}
		if items = append(items, it); len(items) > maxPacks {
			r.fail("more than %d items", maxPacks)
			return nil
		}
	}
	if len(items) == 0 {
		r.fail("TrxList is empty")
	}
	r.out("TrxList")
	return items
}

func (r *reader) item(o parseOptions) (it item) {
	tok, ok := r.peek()
	if !ok || tok != tokStart {
		r.fail("TrxItem is empty")
		return it
	}
	kind := string(r.name.local)
	if kind != "Item" && kind != "ItemMan" && (kind != "ItemUndo" || o.mixedUndo == "Item") {
		r.fail("TrxItem holds %s", kind)
		return it
	}
	if !r.enter(r.types, kind, 1) {
		return it
	}
	it.op = itemOperation(r.take("reqType"), kind, o)
	if r.bad == nil && it.op == nil {
		r.fail("reqType does not fit %s", kind)
		return it
	}
	it.product = r.product(kind == "ItemMan")
	it.serial = r.pack()
	r.in("Transaction")
	it.cid = r.leaf("ClientTrxId", idChars, 1, 32)
	it.lang = r.leaf("Language", lowerChars, 3, 3)
	if r.is(r.types, "RefClientTrxId") {
		it.ref = r.leaf("RefClientTrxId", idChars, 1, 32)
	}
	r.out("Transaction")
	r.out(kind)
	return it
}

// itemOperation applies the lists of nmvs-interface.md 1.6: G123 is in none.
func itemOperation(code []byte, kind string, o parseOptions) *operation {
	op := o.items[string(code)]
	if op == nil || op.Code == "G123" {
		return nil
	}
	fits := false
	switch kind {
	case "ItemMan":
		fits = op.Kind == nmvs.KindManual
	case "ItemUndo":
		fits = op.Kind == nmvs.KindUndo
	case "Item":
		fits = op.Kind == nmvs.KindSingle || op.Kind == nmvs.KindUndo && o.mixedUndo != "ItemUndo"
	}
	if !fits {
		return nil
	}
	return op
}
