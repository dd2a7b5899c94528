package consolidated

import (
	"strings"

	"decom/worker/scan"
)

// event is an EPCIS event, as much of it as tells of contents.
type event struct {
	kind, action, step string // ObjectEvent; ADD; commissioning
	line               int    // where it begins, 0 = not known
	epcs, children     []string
	parent             string
	lot, expiry        string
	refs               []string // business transactions
	withdrawn          bool     // it has an errorDeclaration
}

// last is the word behind the last of : / #, in which vocabularies end.
func last(s string) string {
	return s[strings.LastIndexAny(s, ":/#")+1:]
}

// take hands an event to the collector.
func (c *collector) take(e *event) error {
	if e.withdrawn {
		return problem("ligne %d : un événement du fichier est déclaré erroné (errorDeclaration) ; demandez un fichier corrigé à l'expéditeur",
			"line %d: the file declares one of its events wrong (errorDeclaration); ask the sender for a corrected file", e.line)
	}
	e.step = strings.TrimPrefix(e.step, "BizStep-") // as a web address names it
	switch {
	case e.kind == "ObjectEvent" && e.action == "ADD":
		return c.commissioned(e)
	case e.kind == "ObjectEvent" && e.action == "DELETE":
		for _, text := range e.epcs {
			if p := readEPC(text); p.ok && p.pack {
				c.deleted[packKey{p.code, p.serial}] = true
			}
		}
	case e.kind == "ObjectEvent" && e.action == "OBSERVE" && e.step == "shipping":
		c.shipped(e)
	case e.kind == "AggregationEvent" && (e.action == "ADD" || e.action == "DELETE") && e.parent != "":
		parent := c.container(containerID(e.parent))
		if e.action == "DELETE" {
			c.takeOut(e.children, parent)
			return nil
		}
		for _, text := range e.children {
			p := readEPC(text)
			if !p.ok {
				p = epc{id: strings.TrimSpace(text)}
			}
			c.put(p, parent)
		}
	default:
		c.list.Ignored++
	}
	return nil
}

// containerID names a container; one with an identifier of another kind (a returnable
// crate) keeps its text.
func containerID(text string) string {
	if p := readEPC(text); p.ok && p.id != "" {
		return p.id
	}
	return strings.TrimSpace(text)
}

func (c *collector) commissioned(e *event) error {
	expiry, full := fullDate(e.expiry)
	if !full {
		expiry = e.expiry
	}
	for _, text := range e.epcs {
		c.total++
		p := readEPC(text)
		switch {
		case !p.ok:
			c.refuse(c.total, e.line, BadURI, "code", text)
			continue
		case !p.pack:
			continue // a label was made; what is in it is told elsewhere
		}
		f := scan.Fields{Scheme: string(scan.GTIN), Code: p.code, Serial: p.serial, Batch: e.lot, Expiry: expiry}
		if p.id != "" {
			c.cases[p.id] = pending{f, c.total, e.line, full}
			continue
		}
		if _, err := c.add(f, c.total, e.line, full); err != nil {
			return err
		}
	}
	return nil
}

// shipped notes what left under which papers. A reference is kept as people read it: what
// stands behind the last colon of a URN.
func (c *collector) shipped(e *event) {
	c.shipping = true
	var deliveries []int32
	for _, ref := range e.refs {
		if ref = strings.TrimSpace(ref); strings.HasPrefix(ref, "urn:") {
			ref = ref[strings.LastIndexByte(ref, ':')+1:]
		}
		if ref != "" {
			deliveries = append(deliveries, c.delivery(ref))
		}
	}
	for _, text := range e.epcs {
		p := readEPC(text)
		id := p.id
		switch {
		case !p.ok:
			id = strings.TrimSpace(text)
		case id == "":
			id = "01" + p.code + "21" + p.serial
		}
		c.tops[id] = append(c.tops[id], deliveries...)
	}
}
