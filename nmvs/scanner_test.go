package nmvs

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// scanned lists the tokens of a document as the scanner reads them, with prefixes
// resolved and attributes in order.
func scanned(s *scanner, in io.Reader) (list []string, err error) {
	s.reset(in)
	for {
		tok, err := s.next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok {
		case tokenStart:
			b := fmt.Appendf(nil, "<{%s}%s", s.name.space, s.name.local)
			for i := range s.attrs {
				a := s.attr(i)
				b = fmt.Appendf(b, " {%s}%s=%q", a.space, a.local, a.value)
			}
			list = append(list, string(b))
		case tokenEnd:
			list = append(list, fmt.Sprintf("</{%s}%s", s.name.space, s.name.local))
		case tokenText:
			list = append(list, string(s.text))
		}
	}
}

// byOracle lists what encoding/xml reads in the same way. Comments and the declaration
// are left out, and so is the text around the outermost element, where the scanner
// lets white space and one byte order mark pass.
func byOracle(doc string) (list []string, err error) {
	x, depth := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(doc, "\ufeff"))), 0
	for {
		tok, err := x.Token()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			depth++
			b := fmt.Appendf(nil, "<{%s}%s", t.Name.Space, t.Name.Local)
			for _, a := range t.Attr {
				b = fmt.Appendf(b, " {%s}%s=%q", a.Name.Space, a.Name.Local, a.Value)
			}
			list = append(list, string(b))
		case xml.EndElement:
			depth--
			list = append(list, fmt.Sprintf("</{%s}%s", t.Name.Space, t.Name.Local))
		case xml.CharData:
			if depth > 0 || strings.Trim(string(t), " \t\r\n") != "" {
				list = append(list, string(t))
			}
		case xml.Directive:
			list = append(list, "<!"+string(t))
		case xml.ProcInst:
			if t.Target != "xml" {
				list = append(list, "<?"+t.Target)
			}
		}
	}
}

// scannedAlike reads the document at once and byte by byte into a buffer that must grow
// and move all the time, and fails the test if that makes a difference.
func scannedAlike(t *testing.T, doc string) ([]string, error) {
	t.Helper()
	whole, err := scanned(new(scanner), strings.NewReader(doc))
	bytewise, err2 := scanned(&scanner{buf: make([]byte, 1)}, iotest.OneByteReader(strings.NewReader(doc)))
	if !slices.Equal(whole, bytewise) || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
		t.Errorf("at once:\n%s\n%v\nbyte by byte:\n%s\n%v", strings.Join(whole, "\n"), err, strings.Join(bytewise, "\n"), err2)
	}
	if err != nil && !errors.Is(err, ErrReply) {
		t.Errorf("refused with %v, which is not ErrReply", err)
	}
	return whole, err
}

// onlyByUs are documents that encoding/xml reads and the scanner refuses, with why. Each
// costs an answer in doubt, none a wrong one.
var onlyByUs = map[string]struct{ doc, why string }{
	"empty":               {"", "a reply is one document"},
	"blank":               {" \n", "the same"},
	"comment only":        {"<!-- x -->", "the same"},
	"two roots":           {"<a/><a/>", "which of two answers counts?"},
	"text before":         {"x<a/>", "what is it?"},
	"text behind":         {"<a/>x", "two replies in one, or one cut"},
	"two marks":           {"\ufeff\ufeff<a/>", "the second is text"},
	"mark behind":         {" \ufeff<a/>", "it is no mark there"},
	"CDATA outside":       {"<![CDATA[ ]]><a/>", "not well-formed"},
	"reference outside":   {"&#32;<a/>", "not well-formed"},
	"DTD":                 {"<!DOCTYPE a><a/>", "it may change what the rest means"},
	"mark inside":         {"<a><!ELEMENT a ANY></a>", "not well-formed"},
	"instruction":         {"<?php x?><a/>", "SOAP 1.2 part 1 section 5 forbids them"},
	"instruction inside":  {"<a><?b?></a>", "the same"},
	"late declaration":    {"<a><?xml version=\"1.0\"?></a>", "not well-formed"},
	"two declarations":    {"<?xml version=\"1.0\"?><?xml version=\"1.0\"?><a/>", "not well-formed"},
	"no version":          {"<?xml encoding=\"utf-8\"?><a/>", "not well-formed"},
	"odd declaration":     {"<?xml version=\"1.0\" encoding=\"utf-8\" x=\"y\"?><a/>", "not well-formed; oracle looks for words"},
	"hidden encoding":     {"<?xml version=\"1.0\" encoding = \"latin1\"?><a/>", "oracle overlooks it because of the spaces"},
	"long declaration":    {"<?xml version=\"1.0\"" + strings.Repeat(" ", maxDecl) + "?><a/>", "bounded"},
	"undefined prefix":    {"<b:a/>", "a name without a namespace may be anybody's"},
	"undefined attribute": {"<a b:c=\"\"/>", "the same"},
	"attribute twice":     {`<a b="1" b="2"/>`, "which of two codes counts?"},
	"twice by namespace":  {`<a xmlns:b="u" xmlns:c="u" b:d="1" c:d="2"/>`, "the same"},
	"declared twice":      {`<a xmlns:b="u" xmlns:b="v"/>`, "the same"},
	"no space between":    {`<a b="1"c="2"/>`, "not well-formed"},
	"empty namespace":     {`<a xmlns:b=""/>`, "Namespaces in XML 1.0 section 2.2"},
	"xml rebound":         {`<a xmlns:xml="u"/>`, "Namespaces section 3; oracle ignores it half"},
	"xmlns bound":         {`<a xmlns:xmlns="u"/>`, "Namespaces section 3"},
	"xml's namespace":     {`<a xmlns:b="http://www.w3.org/XML/1998/namespace"/>`, "Namespaces section 3"},
	"xmlns's namespace":   {`<a xmlns="http://www.w3.org/2000/xmlns/"/>`, "Namespaces section 3"},
	"xmlns as element":    {`<xmlns/>`, "reserved; oracle gives it no namespace"},
	"xmlns as prefix":     {`<xmlns:a/>`, "reserved"},
	"colon in front":      {`<:a/>`, "no qualified name; oracle reads a local name with a colon"},
	"colon at the end":    {`<a:/>`, "the same"},
	"digit behind colon":  {`<a xmlns:b="u" b:1="x"/>`, "no qualified name"},
	"name beyond ASCII":   {"<é/>", "NMVS has none, and the tables of letters are long"},
	"surrogate":           {"<a>&#xD800;</a>", "no character; oracle reads U+FFFD"},
	"long reference":      {"<a>&#" + strings.Repeat("0", maxRef) + "65;</a>", "bounded"},
	"control in comment":  {"<a><!-- \x01 --></a>", "not well-formed; oracle does not look"},
	"no UTF-8 in comment": {"<a><!-- \xff --></a>", "the same"},
	"too deep":            {strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1), "bounded"},
	"too many attributes": {"<a" + manyAttributes(maxAttrs+1, "b%d") + "/>", "bounded"},
	"too many namespaces": {"<a" + manyAttributes(maxSpaces-3, "xmlns:b%d") + "><a xmlns:d='u'/></a>", "bounded"},
	"too long":            {"<a>" + strings.Repeat("x", maxToken+1) + "</a>", "bounded; a reply has no such text"},
}

func manyAttributes(n int, name string) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, " "+name+"='u'", i)
	}
	return s.String()
}

func TestWhereTheScannerIsStricterThanEncodingXML(t *testing.T) {
	for name, tc := range onlyByUs {
		if _, err := byOracle(tc.doc); err != nil {
			t.Errorf("%s: encoding/xml refuses it too: %v", name, err)
		}
		if len(tc.doc) > 1<<20 { // growing byte by byte would take long
			if _, err := scanned(new(scanner), strings.NewReader(tc.doc)); !errors.Is(err, ErrReply) {
				t.Errorf("%s: %v", name, err)
			}
		} else if _, err := scannedAlike(t, tc.doc); err == nil {
			t.Errorf("%s is accepted, though %s", name, tc.why)
		}
	}
}

// refusedByBoth are documents that nobody may read.
var refusedByBoth = []string{
	"<", "<a", "<a ", "<a/", "<a b", "<a b=", "<a b=\"", "<a>", "<a></", "<a></a", "<a>x", "<a>&", "<a>&lt", "<a><!", "<a><!-", "<a><!--", "<a><!-- -",
	"<a><![", "<a><![CDATA[", "<a><![CDATA[x]]", "<?", "<?xml", "<?xml ?", "</a>", "<a></b>", "<a></ab>", "<a></a b>", "<a></ a>", "< a/>", "<1/>", "<->",
	"<a/ >", "<a b/>", "<a b=1/>", "<a b='<'/>", "<a b='&'/>", "<a b=\"1'/>", "<a>&e;</a>", "<a>&;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#X41;</a>",
	"<a>&#0;</a>", "<a>&#x1d;</a>", "<a>&#xFFFE;</a>", "<a>&#x110000;</a>", "<a>&#99999999999999999999;</a>", "<a>&#-1;</a>", "<a>&#+65;</a>", "<a>&#6 5;</a>",
	"<a>\x00</a>", "<a>\x1f</a>", "<a>\uffff</a>", "<a>\xff</a>", "<a>\xc3</a>", "<a>\xed\xa0\x80</a>", "<a b='\x01'/>", "<a b='\xff'/>", "<a><![CDATA[\x01]]></a>",
	"<a>]]></a>", "<a>x]]]></a>", "<a><!-- -- --></a>", "<a><!-- ---></a>", "<a><![cdata[x]]></a>", "<a><![CDATA x]]></a>", "<a><!- x --></a>",
	"<a:b:c xmlns:a='u'/>", "<a xmlns:b='u'><b:c></c></a>", "<a xmlns:b='u' xmlns:d='u'><b:c></d:c></a>", "<?xml version=\"1.1\"?><a/>",
	"<?xml version=\"1.0\" encoding=\"latin1\"?><a/>", "\xfe\xff<a/>", "<a>\n</a", "<a\xc3", "<a></a></a>",
}

func TestWhatEncodingXMLRefusesTheScannerRefuses(t *testing.T) {
	for _, doc := range refusedByBoth {
		if _, err := byOracle(doc); err == nil {
			t.Errorf("%q: encoding/xml reads it; it belongs to the other list", doc)
		}
		if list, err := scannedAlike(t, doc); err == nil {
			t.Errorf("%q is read as %q", doc, list)
		}
	}
}

// readAlike are documents that both must read, and alike.
var readAlike = []string{
	"<a/>", "<a />", "<a></a >", "\ufeff<a/>", "<?xml version=\"1.0\"?><a/>", "\ufeff<?xml version='1.0' encoding='Utf-8' standalone='no' ?>\r\n<a/>\n",
	"\n<?xml version=\"1.0\" encoding=\"utf-8\"?><a/>", "<!-- x --><a/><!-- y -->", "<a>x<!-- - -->y<!----></a>", "<a><!--->--></a>", "<a b = '1'\n\tc=\"2\"/>",
	"<a b=\"'\" c='\"' d='&gt;>]]>'/>", "<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#x1F4A9;&#0000067;&#13;</a>", "<a>\r\n\r\r\nx\r</a>", "<a b='\r\n\r\t'/>",
	"<a><![CDATA[]]></a>", "<a><![CDATA[<&>]]]]></a>", "<a><![CDATA[\r\n]>]] >é]]>x</a>", "<a>x]]&gt;]] ]></a>", "<a>&#93;]></a>", "<a>é\u20ac\U0001F4A9\ufffd\x7f\u0085</a>",
	"<a xmlns='u'><b xmlns=''><c/></b><d e=''/></a>", "<a xmlns:p='u'><p:b p:c='' c=''><p:b xmlns:p='v'/></p:b></a>", "<b:a xmlns:b='u' xmlns:c='u'/>",
	"<a xml:lang='en'/>", "<_-.1/>", "<a>" + strings.Repeat("<a>", maxDepth-1) + strings.Repeat("</a>", maxDepth-1) + "</a>", "<a" + manyAttributes(maxAttrs, "b%d") + "/>",
	"<a xmlns:b='&#117;'/>", "<a\r\n>x</a\r\n>", "<a>" + strings.Repeat("lang€ ", 20000) + "</a>",
}

func TestTheScannerReadsAsEncodingXMLDoes(t *testing.T) {
	for _, doc := range append(goldenFiles(t), readAlike...) {
		want, err := byOracle(doc)
		if err != nil {
			t.Errorf("%q: encoding/xml refuses it: %v", clip(doc), err)
		}
		got, err := scannedAlike(t, doc)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, read as\n%s\nwant\n%s", clip(doc), err, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func goldenFiles(t testing.TB) (docs []string) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files in testdata, %v", len(names), err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, string(b))
	}
	return docs
}

// The scanner never accepts what encoding/xml refuses, and reads the same tokens.
func FuzzScannerAgainstEncodingXML(f *testing.F) {
	for _, doc := range slices.Concat(goldenFiles(f), readAlike, refusedByBoth) {
		f.Add(doc)
	}
	for _, tc := range onlyByUs {
		if len(tc.doc) < 4<<10 {
			f.Add(tc.doc)
		}
	}
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := scannedAlike(t, doc)
		if err != nil {
			return
		}
		if want, err := byOracle(doc); err != nil || !slices.Equal(got, want) {
			t.Errorf("read as\n%q\nencoding/xml: %v\n%q", got, err, want)
		}
	})
}

func TestAScannerIsAsNewAfterAnyReply(t *testing.T) {
	s := new(scanner)
	for _, doc := range refusedByBoth {
		_, _ = scanned(s, strings.NewReader(doc))
		for _, ok := range []string{"<?xml version=\"1.0\"?><a b='1'><c/>x</a>", "\ufeff<a xmlns='u'/>"} {
			got, err := scanned(s, strings.NewReader(ok))
			if want, _ := byOracle(ok); err != nil || !slices.Equal(got, want) {
				t.Fatalf("after %q: %q, %v", doc, got, err)
			}
		}
	}
}

func TestABrokenStreamIsToldAsItBroke(t *testing.T) {
	doc := goldenFiles(t)[0]
	broken := errors.New("reset")
	for n := range len(doc) - 1 {
		in := io.MultiReader(strings.NewReader(doc[:n]), iotest.ErrReader(broken))
		if _, err := scanned(new(scanner), in); !errors.Is(err, broken) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
	if _, err := scanned(new(scanner), iotest.ErrReader(nil)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

// Decoders, buffers and lists are pooled: an answer must not lie in them.
func TestAnAnswerOutlivesItsReply(t *testing.T) {
	c := demoClient(t, 5)
	call, doc := bulkOf(t, 100)
	a, err := answer(t, c, call, doc)
	check(t, err)
	before := fmt.Sprintf("%+v", a)
	other := strings.NewReplacer("SN0", "XX0", "SUPPLIED", "STOLEN", "INACTIVE", "ACTIVE", "NMVS_SUCCESS", "NMVS_ERROR", "C2D3E4F5", "00000000").Replace(doc)
	for range 20 {
		if _, err := answer(t, c, call, other); err != nil {
			t.Fatal(err)
		}
	}
	if after := fmt.Sprintf("%+v", a); after != before {
		t.Errorf("the answer was\n%s\nand is\n%s", before, after)
	}
}

// A hostile reply must not leave its size in the pool.
func TestALongReplyLeavesNoLargeBuffers(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	d := new(decoder)
	for _, doc := range []string{"<" + long + "/>", "<a b='" + long + "'/>", "<a>" + long + "</a>", "<a xmlns='" + long + "'/>"} {
		if _, err := scanned(&d.x, strings.NewReader(doc)); err != nil {
			t.Fatal(err)
		}
		d.text = append(d.text[:0], long...)
		d.release()
		kept := len(d.x.buf) + cap(d.x.names) + cap(d.text)
		for _, b := range d.x.spaces[:cap(d.x.spaces)] {
			kept += len(b.prefix) + len(b.space)
		}
		for _, w := range d.x.words {
			kept += len(w)
		}
		if kept > keepScanBuffer+scanBuffer+keepText {
			t.Errorf("%q leaves %d bytes", clip(doc), kept)
		}
	}
}

func TestWhatIsSkippedIsNotKept(t *testing.T) {
	s := new(scanner)
	doc := strings.Repeat(" ", 1<<20) + "<!--" + strings.Repeat("-x", 1<<20) + "--><a/>"
	if got, err := scanned(s, strings.NewReader(doc)); err != nil || len(got) != 2 || len(s.buf) != scanBuffer {
		t.Errorf("%q, %v, a buffer of %d bytes", got, err, len(s.buf))
	}
}
