package consolidated

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"decom/queue/doors"
)

// readXML reads an EPCIS 1.2 document (2.0 in XML has the same elements), one event in
// memory at a time. It is strict about form and generous about what it does not need:
// elements are known by their local names, unknown ones are passed over.
func (c *collector) readXML(r io.Reader) error {
	d := xml.NewDecoder(r)
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "iso-8859-1", "latin1", "windows-1252", "us-ascii":
			b, err := io.ReadAll(io.LimitReader(in, MaxBytes))
			return strings.NewReader(doors.Windows1252(b)), err
		}
		return nil, fmt.Errorf("charset %s", charset)
	}
	x := xmlReader{c: c, d: d}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && x.root {
			return nil
		}
		if err != nil {
			line, _ := d.InputPos()
			return problem("ligne %d : ce n'est pas du XML complet et correct (%v) ; rien n'a été pris", "line %d: this is no complete and correct XML (%v); nothing was taken", line, err)
		}
		if err := x.token(t); err != nil {
			return err
		}
	}
}

// maxNesting is far above the 10 or so of EPCIS, so that a hostile file fills no memory.
const maxNesting = 64

type xmlReader struct {
	c    *collector
	d    *xml.Decoder
	root bool
	path []string // local names from the root
	ev   *event   // inside an event
	text strings.Builder
}

func (x *xmlReader) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		if len(x.path) == maxNesting {
			return problem("des éléments sont emboîtés plus de %d fois", "elements are nested more than %d deep", maxNesting)
		}
		x.path = append(x.path, t.Name.Local)
		x.text.Reset()
		return x.start(t.Name.Local)
	case xml.CharData:
		if x.ev != nil || x.in("Sender") {
			x.text.Write(t)
		}
	case xml.EndElement:
		x.path = x.path[:len(x.path)-1]
		return x.end(t.Name.Local, x.text.String())
	case xml.Directive:
		return problem("le fichier contient une déclaration DTD, qui n'est pas acceptée", "the file holds a DTD, which is not accepted")
	}
	return nil
}

func (x *xmlReader) in(name string) bool {
	return len(x.path) >= 2 && x.path[len(x.path)-2] == name
}

func (x *xmlReader) start(name string) error {
	line, _ := x.d.InputPos()
	switch {
	case len(x.path) == 1:
		if x.root || name != "EPCISDocument" {
			return problem("ligne %d : l'élément racine est %s et non EPCISDocument", "line %d: the root element is %s and not EPCISDocument", line, clip(name))
		}
		x.root = true
	case x.ev != nil && name == "errorDeclaration":
		x.ev.withdrawn = true
	case x.ev == nil && strings.HasSuffix(name, "Event") && x.path[1] == "EPCISBody":
		x.ev = &event{kind: name, line: line}
	}
	return nil
}

// end takes an element's text. Where it stands decides, not its name alone: an epc in a
// childEPCs is a child.
func (x *xmlReader) end(name, text string) error {
	if x.ev == nil {
		if name == "Identifier" && len(x.path) > 0 && x.path[len(x.path)-1] == "Sender" {
			x.c.list.Sender = strings.TrimSpace(text)
		}
		return nil
	}
	e, above := x.ev, x.path[len(x.path)-1]
	switch name {
	case e.kind:
		x.ev = nil
		return x.c.take(e)
	case "action":
		e.action = strings.TrimSpace(text)
	case "bizStep":
		e.step = last(strings.TrimSpace(text))
	case "parentID":
		e.parent = strings.TrimSpace(text)
	case "epc":
		if len(e.epcs)+len(e.children) > 2*MaxRows {
			return errTooMany
		}
		switch above {
		case "epcList":
			e.epcs = append(e.epcs, text)
		case "childEPCs":
			e.children = append(e.children, text)
		}
	case "lotNumber":
		e.lot = text // byte for byte
	case "itemExpirationDate":
		e.expiry = strings.TrimSpace(text)
	case "bizTransaction":
		e.refs = append(e.refs, text)
	}
	x.text.Reset()
	return nil
}
