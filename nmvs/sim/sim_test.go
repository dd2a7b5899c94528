package sim

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/nmvs"
)

// The accounts, packs and times of the tests.
const (
	gtin1 = "09521234000013"
	gtin2 = "09521234000020"
	gtinX = "09521234000037" // another market's
	pass  = "Ex4mple-Only!"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func accounts() []Account {
	return []Account{
		{ClientLoginID: "DEMO-SITE-01", UserID: "DEMO-USER-01", Password: pass},
		{ClientLoginID: "DEMO-SITE-01", UserID: "DEMO-USER-02", Password: pass},
		{ClientLoginID: "DEMO-SITE-02", UserID: "DEMO-USER-03", Password: pass},
	}
}

// bench is one simulator with a clock that stands still unless advanced.
type rig struct {
	*Sim
	t testing.TB
	h http.Handler
	n int
}

func newRig(t testing.TB, version int, set Settings) *rig {
	t.Helper()
	s, err := New(Config{Version: version, Seed: 7, Clock: func() time.Time { return start }, Accounts: accounts(), Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	yes := true
	err = s.AddStock(
		Stock{Code: gtin1, Serial: "A1", Batch: "L1", Expiry: "271100", NHRN: "3400952123400"},
		Stock{Code: gtin1, Serial: "A2", Batch: "L1"},
		Stock{Code: gtin1, Serial: "B1", Batch: "L2", Expiry: "280531"},
		Stock{Code: gtin1, Serial: "OLD", Batch: "LOLD", Expiry: "260131"},
		Stock{Code: gtin1, Serial: "REC", Batch: "LREC", Expiry: "280100", Recalled: &yes},
		Stock{Code: gtin1, Serial: "GONE", Batch: "L1", Reasons: []string{"SUPPLIED"}},
		Stock{Code: "09521234000044", Serial: "W1", Batch: "LW", Expiry: "280100", Withdrawn: &yes},
		Stock{Code: "09521234000051", Serial: "D1", Batch: "LD", Expiry: "280100", Denied: &yes},
		Stock{Code: gtin2, Serial: "S1", Batch: "B2201", Expiry: "280531"},
		Stock{Code: gtin2, Serial: "S2", Batch: "B2201"},
		Stock{Code: gtin2, Serial: "S3", Batch: "B2201"},
		Stock{Code: gtinX, Serial: "X1", Batch: "LX", Expiry: "280100", Market: "BE"},
	)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Sim: s, t: t, h: s.Handler()}
}

// ask is one request, with the fields that tests vary.
type ask struct {
	op             string
	c              string // ClientTrxId; default: a new one
	client, user   string // default: the first account
	password       string
	code, sn       string // default gtin1, A1
	batch, expiry  string // default those of L1
	ref            string
	body           string // replaces the body
	serials        []string
	manual, header bool
	path           nmvs.Service
	pathSet        bool
}

func esc(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

func (r *rig) xml(a ask) string {
	def(&a.client, "DEMO-SITE-01")
	def(&a.user, "DEMO-USER-01")
	def(&a.password, pass)
	def(&a.code, gtin1)
	def(&a.sn, "A1")
	def(&a.batch, "L1")
	def(&a.expiry, "271100")
	if a.c == "" {
		r.n++
		a.c = fmt.Sprintf("TRX-%06d", r.n)
	}
	product := fmt.Sprintf(`<t:Product><t:ProductCode t:scheme="GTIN">%s</t:ProductCode>`, a.code)
	if !a.manual {
		product += fmt.Sprintf(`<t:Batch><t:Id>%s</t:Id><t:ExpDate>%s</t:ExpDate></t:Batch>`, esc(a.batch), a.expiry)
	}
	product += `</t:Product>`
	body := product + fmt.Sprintf(`<t:Pack t:sn="%s"/>`, esc(a.sn))
	if a.serials != nil {
		var b strings.Builder
		b.WriteString(product + "<t:Packs>")
		for _, sn := range a.serials {
			b.WriteString(`<t:Pack t:sn="` + esc(sn) + `"/>`)
		}
		body = b.String() + "</t:Packs>"
	}
	if a.ref != "" {
		body += "<t:RefClientTrxId>" + a.ref + "</t:RefClientTrxId>"
	}
	if a.body != "" {
		body = a.body
	}
	body = "<t:Body>" + body + "</t:Body>"
	if a.header {
		body = ""
	}
	return fmt.Sprintf(`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:m="urn:wsdltypes.nmvs.eu:v%[1]d.0" xmlns:t="urn:types.nmvs.eu:v%[1]d.0"><e:Header/><e:Body><m:%[2]sRequest><t:Header><t:Auth><t:ClientLoginId>%[3]s</t:ClientLoginId><t:UserId>%[4]s</t:UserId><t:Password>%[5]s</t:Password></t:Auth><t:UserSoftware t:name="test" t:supplier="test" t:version="1"/><t:Transaction><t:ClientTrxId>%[6]s</t:ClientTrxId><t:Language>eng</t:Language></t:Transaction></t:Header>%[7]s</m:%[2]sRequest></e:Body></e:Envelope>`,
		r.cfg.Version, a.op, a.client, a.user, esc(a.password), a.c, body)
}

// answer is a reply, read with encoding/xml: not with the reader under test.
type answer struct {
	status int
	text   string
	header http.Header
	Root   string
	C, Tx  string
	Code   string // the last ReturnCode
	Alert  string
	State  string
	Packs  map[string]string // serial or item id -> code
	States map[string]string
	Order  []string
	Reason []string
	Notes  []string
	Names  []string // every element, in order
}

func (r *rig) do(a ask) answer {
	r.t.Helper()
	svc := nmvs.Single
	if o, ok := nmvs.Lookup(a.op); ok {
		svc = o.Service
	}
	if a.pathSet {
		svc = a.path
	}
	return r.post(svc, r.xml(a))
}

func (r *rig) post(svc nmvs.Service, body string) answer {
	r.t.Helper()
	w := r.raw(svc, body)
	return read(r.t, w.Code, w.Header(), w.Body.Bytes())
}

func (r *rig) raw(svc nmvs.Service, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("POST", Path(svc, r.cfg.Version), strings.NewReader(body))
	req.Header.Set("Content-Type", "application/soap+xml; charset=utf-8")
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return w
}

func read(t testing.TB, status int, h http.Header, body []byte) answer {
	t.Helper()
	a := answer{status: status, text: string(body), header: h, Packs: map[string]string{}, States: map[string]string{}}
	d := xml.NewDecoder(bytes.NewReader(body))
	var path []string
	var sn, item string
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return a
		}
		if err != nil {
			return a // not XML: the caller looks at text
		}
		switch e := tok.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			a.Names = append(a.Names, e.Name.Local)
			if len(path) == 3 && a.Root == "" {
				a.Root = e.Name.Local
			}
			at := map[string]string{}
			for _, x := range e.Attr {
				at[x.Name.Local] = x.Value
			}
			switch e.Name.Local {
			case "Pack":
				sn, a.State = at["sn"], at["state"]
				if item != "" {
					sn = item
				}
				a.States[sn] = at["state"]
				a.Order = append(a.Order, sn)
			case "ReturnCode":
				a.Code, a.Alert = at["code"], at["alertId"]
				a.Packs[sn] = at["code"]
				sn = ""
			case "TrxItem":
				item = "?"
			case "Notification":
				a.Notes = append(a.Notes, at["notificationCode"]+" "+at["notificationDesc"])
			}
		case xml.EndElement:
			path = path[:len(path)-1]
			if e.Name.Local == "TrxItem" {
				item = ""
			}
		case xml.CharData:
			if last := path[max(len(path)-1, 0):]; len(last) == 0 || !slices.Contains([]string{"ClientTrxId", "NMVSTrxId", "Reason"}, last[0]) {
				continue
			}
			switch path := strings.Join(path, "/"); {
			case strings.HasSuffix(path, "Header/Transaction/ClientTrxId"):
				a.C = string(e)
			case strings.HasSuffix(path, "TrxItem/Transaction/ClientTrxId"):
				item = string(e)
			case strings.HasSuffix(path, "Header/Transaction/NMVSTrxId"):
				a.Tx = string(e)
			case strings.HasSuffix(path, "/Reason"):
				a.Reason = append(a.Reason, string(e))
			}
		}
	}
}

// want fails unless the last code is NMVS_+code.
func (a answer) want(t testing.TB, code string) answer {
	t.Helper()
	if a.Code != "NMVS_"+code {
		t.Fatalf("code %q (HTTP %d), want NMVS_%s\n%s", a.Code, a.status, code, a.text)
	}
	return a
}

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".xml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExamplesOfTheInterfaceAreAccepted(t *testing.T) {
	for name, want := range map[string]struct {
		svc  nmvs.Service
		code string
		root string
	}{
		"g120":           {nmvs.Single, "NMVS_SUCCESS", "G120Response"},
		"g121":           {nmvs.Single, "NMVS_NC_PCK_06", "G121Response"}, // nothing to undo
		"g125":           {nmvs.Bulk, "NMVS_SUCCESS", "G125Response"},
		"g188":           {nmvs.Bulk, "NMVS_FE_TX_02", "G188Response"},
		"g195":           {nmvs.Mixed, "NMVS_SUCCESS", "G195Response"},
		"g445":           {nmvs.Support, "NMVS_SUCCESS", "G445Response"},
		"singlepackping": {nmvs.Single, "", "SinglePackPingResponse"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 5, Settings{AutoStock: AutoStock{On: true}})
			a := r.post(want.svc, golden(t, name))
			if a.Code != want.code || a.Root != want.root || a.status != 200 {
				t.Fatalf("got %s %q HTTP %d, want %s %q\n%s", a.Root, a.Code, a.status, want.root, want.code, a.text)
			}
		})
	}
}

var exampleReply = regexp.MustCompile(`>\s+<`)

func TestReplyHasTheFormOfTheExample(t *testing.T) {
	s := newRig(t, 5, Settings{AutoStock: AutoStock{On: true}})
	a := s.post(nmvs.Single, golden(t, "g120"))
	want := []string{"Envelope", "Body", "G120Response", "Header", "Auth", "ClientLoginId", "UserId", "Transaction", "Language", "ClientTrxId",
		"NMVSTrxId", "Timestamp", "Body", "Product", "ProductCode", "NHRN", "Batch", "Id", "ExpDate", "ExpDateNMVS", "Pack", "Reason", "ReturnCode"}
	if got := strings.Join(a.Names, " "); got != strings.Join(want, " ") {
		t.Errorf("elements\n got %s\nwant %s", got, strings.Join(want, " "))
	}
	for _, part := range []string{
		`<ns1:ClientTrxId>01J8Z3N5Q7R9T1V3X5Z7B9D1F3</ns1:ClientTrxId>`, `<ns1:Timestamp>2026-03-02T08:00:00.000Z</ns1:Timestamp>`,
		`<ns1:Id>L-24&amp;7</ns1:Id><ns1:ExpDate>271100</ns1:ExpDate><ns1:ExpDateNMVS>2027-11-30</ns1:ExpDateNMVS>`,
		`<ns1:Pack ns1:sn="Zk&lt;7aQ0001" ns1:state="INACTIVE"><ns1:Reason>SUPPLIED</ns1:Reason></ns1:Pack>`,
		`xmlns:ns2="urn:wsdltypes.nmvs.eu:v5.0"`,
	} {
		if !strings.Contains(exampleReply.ReplaceAllString(a.text, "><"), part) {
			t.Errorf("reply lacks %s\n%s", part, a.text)
		}
	}
	if !regexp.MustCompile(`^[0-9A-F]{32}$`).MatchString(a.Tx) {
		t.Errorf("NMVSTrxId %q", a.Tx)
	}
}
