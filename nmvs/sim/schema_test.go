package sim

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"decom/nmvs"
)

func TestRequestsThatBreakTheSchemaAreRefused(t *testing.T) {
	r := newRig(t, 5, Settings{})
	good := func() string { return r.xml(ask{op: "G120", c: "X", sn: "NOT-THERE"}) }
	long := strings.Repeat("x", 21)
	tests := []struct{ name, old, new string }{
		{"wrong types version", "urn:types.nmvs.eu:v5.0", "urn:types.nmvs.eu:v4.0"},
		{"wrong message version", "urn:wsdltypes.nmvs.eu:v5.0", "urn:wsdltypes.nmvs.eu:v4.0"},
		{"SOAP 1.1", "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"},
		{"unknown operation", "G120Request", "G999Request"},
		{"unqualified attribute", "t:sn=", "sn="},
		{"unqualified scheme", "t:scheme=", "scheme="},
		{"missing attribute", ` t:sn="NOT-THERE"`, ""},
		{"attribute too many", "<t:Pack ", `<t:Pack t:state="ACTIVE" `},
		{"attribute too many elsewhere", "<t:Batch>", `<t:Batch t:x="1">`},
		{"wrong order", "<t:ClientTrxId>X</t:ClientTrxId><t:Language>eng</t:Language>", "<t:Language>eng</t:Language><t:ClientTrxId>X</t:ClientTrxId>"},
		{"missing element", "<t:Language>eng</t:Language>", ""},
		{"element too many", "<t:Language>eng</t:Language>", "<t:Language>eng</t:Language><t:More/>"},
		{"text between elements", "<t:Batch>", "<t:Batch>x"},
		{"element in text", "<t:Id>L1</t:Id>", "<t:Id><t:L1/></t:Id>"},
		{"empty login", "DEMO-SITE-01", ""},
		{"long login", "DEMO-SITE-01", long},
		{"short user", "DEMO-USER-01", "abc"},
		{"login alphabet", "DEMO-SITE-01", "DEMO_SITE_01"},
		{"short password", ">" + pass + "<", ">Ab1!<"},
		{"long software version", `t:version="1"`, `t:version="1.2.3-rc.4567"`},
		{"empty software name", `t:name="test"`, `t:name=""`},
		{"UUID as ClientTrxId", ">X<", ">123e4567-e89b-12d3-a456-426614174000<"},
		{"ClientTrxId alphabet", ">X<", ">a_b<"},
		{"language", ">eng<", ">en<"},
		{"language in capitals", ">eng<", ">ENG<"},
		{"short code", ">" + gtin1 + "<", ">09521234000<"},
		{"code not digits", ">" + gtin1 + "<", ">0952123400001X<"},
		{"scheme", `"GTIN"`, `"EAN"`},
		{"empty serial", `"NOT-THERE"`, `""`},
		{"long serial", "NOT-THERE", long},
		{"serial alphabet", "NOT-THERE", "NOT THERE"},
		{"serial with group separator", "NOT-THERE", "NOT&#29;THERE"},
		{"serial with hash", "NOT-THERE", "NOT#THERE"},
		{"long batch", "<t:Id>L1<", "<t:Id>" + long + "<"},
		{"expiry with dashes", "271100", "27-1-1"},
		{"long expiry", "271100", "20271100"},
		{"reference outside an undo", "</t:Body>", "<t:RefClientTrxId>X</t:RefClientTrxId></t:Body>"},
		{"NHRN too short", "<t:Batch>", "<t:NHRN>1</t:NHRN><t:Batch>"},
		{"second message", "</e:Body>", "<m:G110Request/></e:Body>"},
		{"not XML", "<t:Body>", "<t:Body"},
		{"end too early", "</e:Body></e:Envelope>", ""},
		{"trailing text", "</e:Envelope>", "</e:Envelope>x"},
		{"second root", "</e:Envelope>", "</e:Envelope><x/>"},
		{"DTD", "<e:Envelope ", "<!DOCTYPE x [<!ENTITY y 'z'>]><e:Envelope "},
		{"unknown entity", "<t:Id>L1<", "<t:Id>&nbsp;<"},
		{"control character", "NOT-THERE", "NOT\x1dTHERE"},
		{"not UTF-8", "NOT-THERE", "NOT\xffTHERE"},
		{"undeclared prefix", "<t:Batch>", "<u:Batch>"},
		{"two equal attributes", `<t:Pack `, `<t:Pack t:sn="A" `},
		{"wrong end tag", "</t:Batch>", "</t:Batsch>"},
		{"schema and not XML", "<t:Language>eng</t:Language>", "<t:More></t:Less>"},
	}
	notXML := map[string]bool{"not XML": true, "end too early": true, "trailing text": true, "second root": true, "DTD": true, "unknown entity": true, "control character": true,
		"not UTF-8": true, "undeclared prefix": true, "two equal attributes": true, "wrong end tag": true, "serial with group separator": true, "schema and not XML": true}
	if a := r.post(nmvs.Single, good()); a.Code != "NMVS_NC_PC_02" {
		t.Fatalf("the request without a fault: %s", a.text)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := strings.ReplaceAll(good(), tt.old, tt.new)
			if body == good() {
				t.Fatal("nothing was changed")
			}
			want := "NMVS_TE_XM_02"
			if notXML[tt.name] {
				want = "NMVS_TE_XM_01"
			}
			a := r.post(nmvs.Single, body)
			if a.Code != want && !(strings.Contains(a.text, "soap:Sender") && strings.Contains(a.text, want)) {
				t.Errorf("got %q, want %s\n%s", a.Code, want, a.text)
			}
		})
	}
	if c := r.Counts(); len(c.Effects) != 0 || c.Alerts["A3"] != 1 {
		t.Errorf("a refused request had an effect: %+v", c)
	}
}

func TestAReadableHeaderIsEchoedInARefusal(t *testing.T) {
	r := newRig(t, 5, Settings{Rules: Rules{SchemaStatus: 400}})
	a := r.post(nmvs.Single, strings.Replace(r.xml(ask{op: "G120", c: "ECHO-ME"}), "271100", "2711", 1))
	if a.want(t, "TE_XM_02"); a.C != "ECHO-ME" || a.status != 400 || a.Root != "G120Response" {
		t.Errorf("HTTP %d\n%s", a.status, a.text)
	}
}

func TestRequestsInOtherClothesAreAccepted(t *testing.T) {
	r := newRig(t, 5, Settings{Rules: Rules{AllowTrxReuse: true}})
	base := r.xml(ask{op: "G110"})
	tests := map[string]string{
		"other prefixes":     strings.NewReplacer("<t:", "<typ:", "</t:", "</typ:", " t:", " typ:", "xmlns:t=", "xmlns:typ=").Replace(base),
		"declaration":        `<?xml version="1.0" encoding="utf-8"?>` + "\n" + base,
		"byte order mark":    "\ufeff" + base,
		"comments":           strings.ReplaceAll(base, "<t:Batch>", "<!-- a - b --><t:Batch><?pi x?>"),
		"CDATA":              strings.ReplaceAll(base, "<t:Id>L1<", "<t:Id><![CDATA[L]]>1<"),
		"character entity":   strings.ReplaceAll(base, "<t:Id>L1<", "<t:Id>&#76;&#x31;<"),
		"white space":        strings.ReplaceAll(base, "><", ">\r\n\t <"),
		"single quotes":      strings.ReplaceAll(base, `t:sn="A1"`, `t:sn='A1'`),
		"long empty element": strings.ReplaceAll(base, `t:sn="A1"/>`, `t:sn="A1"></t:Pack>`),
		"no soap header":     strings.ReplaceAll(base, `<e:Header/>`, ``),
		"full soap header":   strings.ReplaceAll(base, `<e:Header/>`, `<e:Header><x xmlns="urn:x"><y/></x></e:Header>`),
		"sub user":           strings.ReplaceAll(base, `</t:Auth>`, `<t:SubUserId>robot é</t:SubUserId></t:Auth>`),
		"NHRN":               strings.ReplaceAll(base, `<t:Batch>`, `<t:NHRN>3400952123400</t:NHRN><t:Batch>`),
		"declared late":      strings.ReplaceAll(strings.ReplaceAll(base, ` xmlns:t="urn:types.nmvs.eu:v5.0"`, ""), `<m:G110Request>`, `<m:G110Request xmlns:t="urn:types.nmvs.eu:v5.0">`),
		"schema location":    strings.ReplaceAll(base, `<m:G110Request>`, `<m:G110Request xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">`),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) { r.post(nmvs.Single, body).want(t, "SUCCESS") })
	}
}

func TestVersionsDifferWhereTheInterfaceSaysSo(t *testing.T) {
	for _, v := range []int{2, 3, 4, 5} {
		r := newRig(t, v, Settings{})
		if a := r.do(ask{op: "G120"}).want(t, "SUCCESS"); !strings.Contains(a.text, "urn:types.nmvs.eu:v"+string(rune('0'+v))+".0") {
			t.Errorf("V%d replies in another version: %s", v, a.text)
		}
		nhrn := strings.ReplaceAll(r.xml(ask{op: "G110"}), `<t:Batch>`, `<t:NHRN>3400952123400</t:NHRN><t:Batch>`)
		if got := r.post(nmvs.Single, nhrn).Code; (got == codeSuccess) != (v == 5) {
			t.Errorf("V%d: NHRN in a request: %s", v, got)
		}
		for element, ok := range map[string]bool{"Item": v < 5, "ItemUndo": v == 5} {
			body := mixed(mixedItem{element, "G121", gtin2, "S1", "IT-" + element, ""})
			got := r.do(ask{op: "G195", body: body}).Code
			if (got == codeSuccess) != ok {
				t.Errorf("V%d: undo in %s: %s", v, element, got)
			}
		}
	}
}

// FuzzLexer holds the hand-written reader against encoding/xml: what it
// accepts, encoding/xml reads as the same elements and texts.
func FuzzLexer(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal("no examples", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{
		`<a xmlns="u"><b c='&lt;"'>x<!--y-->z</b></a>`, `<p:a xmlns:p="u" p:x="1" x="2">&#x41;<![CDATA[<&]]></p:a>`, "<a>\r\n\r</a >", `<a b="1"c="2"/>`, `<a/><b/>`,
		`<?xml version="1.0" encoding='UTF-8'?><a x="` + "\t\n" + `"/>`, `<a>]]></a>`, `<a xmlns:p=""/>`, `<a><!-- -- --></a>`, `<a:b:c xmlns:a="u"/>`, `<a><?xml x?></a>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		mine, err := readMine(doc)
		if err != nil {
			return
		}
		theirs, err := readTheirs(doc)
		if err != nil {
			t.Fatalf("accepted %q, encoding/xml says %v", doc, err)
		}
		if mine != theirs {
			t.Fatalf("%q\nread as   %s\nshould be %s", doc, mine, theirs)
		}
	})
}

// spaces hides that encoding/xml leaves tabs and line ends in attributes.
var spaces = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

func readMine(doc []byte) (string, error) {
	l, err := newLexer(doc)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		tok, err := l.next()
		if err != nil {
			return "", err
		}
		switch tok {
		case tokEOF:
			return b.String(), nil
		case tokText:
			b.WriteString("[" + string(l.text) + "]")
		case tokEnd:
			b.WriteString("</>")
		case tokStart:
			b.WriteString("<" + string(l.name.space) + "|" + string(l.name.local))
			for _, a := range l.attrs {
				b.WriteString(" " + string(a.name.space) + "|" + string(a.name.local) + "=" + spaces.Replace(string(a.value)))
			}
			b.WriteString(">")
		}
	}
}

func readTheirs(doc []byte) (string, error) {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))))
	var b, text strings.Builder
	depth := 0
	flush := func() {
		if text.Len() > 0 {
			b.WriteString("[" + text.String() + "]")
		}
		text.Reset()
	}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch e := tok.(type) {
		case xml.CharData:
			if depth > 0 {
				text.Write(e)
			}
		case xml.EndElement:
			flush()
			depth--
			b.WriteString("</>")
		case xml.StartElement:
			flush()
			depth++
			b.WriteString("<" + e.Name.Space + "|" + e.Name.Local)
			for _, a := range e.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				b.WriteString(" " + a.Name.Space + "|" + a.Name.Local + "=" + spaces.Replace(a.Value))
			}
			b.WriteString(">")
		}
	}
}

// BenchmarkReaders is why the reader is written by hand.
func BenchmarkReaders(b *testing.B) {
	doc := []byte(golden(b, "g120"))
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			l, err := newLexer(doc)
			for tok := tokStart; tok != tokEOF && err == nil; {
				tok, err = l.next()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding_xml", func(b *testing.B) {
		for b.Loop() {
			d := xml.NewDecoder(bytes.NewReader(doc))
			var err error
			for err == nil {
				_, err = d.Token()
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
}
