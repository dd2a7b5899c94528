package wwks2

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// envelope is one document: the messages that matter here, and nothing else of WWKS 2.
type envelope struct {
	XMLName       xml.Name     `xml:"WWKS"`
	TimeStamp     string       `xml:"TimeStamp,attr"`
	HelloRequest  *header      `xml:"HelloRequest"`
	HelloResponse *header      `xml:"HelloResponse"`
	KeepRequest   *header      `xml:"KeepAliveRequest"`
	KeepResponse  *header      `xml:"KeepAliveResponse"`
	Input         *packMessage `xml:"InputMessage"`
	Output        *packMessage `xml:"OutputMessage"`
}

type header struct {
	ID          string `xml:"Id,attr"`
	Source      string `xml:"Source,attr"`
	Destination string `xml:"Destination,attr"`
}

// packMessage is an InputMessage or an OutputMessage.
type packMessage struct {
	header
	IsNewDelivery string `xml:"IsNewDelivery,attr"`
	Details       struct {
		Status string `xml:"Status,attr"`
	} `xml:"Details"`
	Articles []struct {
		ID    string `xml:"Id,attr"`
		Packs []pack `xml:"Pack"`
	} `xml:"Article"`
}

// pack has the attributes of domain.md section 9.
type pack struct {
	ID               string `xml:"Id,attr"`
	ScanCode         string `xml:"ScanCode,attr"`
	BatchNumber      string `xml:"BatchNumber,attr"`
	SerialNumber     string `xml:"SerialNumber,attr"`
	ExpiryDate       string `xml:"ExpiryDate,attr"`
	ExpiryDateSource string `xml:"ExpiryDateSource,attr"`
	SubItemQuantity  string `xml:"SubItemQuantity,attr"`
	DeliveryNumber   string `xml:"DeliveryNumber,attr"`
	BoxNumber        string `xml:"BoxNumber,attr"`
	Handling         struct {
		Input string `xml:"Input,attr"`
	} `xml:"Handling"`
}

// opened says that the box was opened: some of what was in it is gone.
func (p *pack) opened() bool {
	n, err := strconv.Atoi(strings.TrimSpace(p.SubItemQuantity))
	return err == nil && n > 0
}

// maxDepth and maxPacks bound what one document can make of memory.
const (
	maxDepth = 16
	maxPacks = 2000
)

// parse reads one document.
func parse(doc []byte) (envelope, error) {
	var e envelope
	depth := 0
	for dec := xml.NewDecoder(strings.NewReader(string(doc))); ; { // shape first: depth is not bounded by Unmarshal
		tok, err := dec.RawToken()
		if tok == nil || err != nil {
			break // Unmarshal says what is wrong
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return e, fmt.Errorf("more than %d elements inside each other", maxDepth)
			}
		case xml.EndElement:
			depth--
		case xml.Directive:
			return e, errors.New("a document type declaration")
		}
	}
	if err := xml.Unmarshal(doc, &e); err != nil {
		return e, err
	}
	n := 0
	for _, m := range []*packMessage{e.Input, e.Output} {
		if m != nil {
			for _, a := range m.Articles {
				n += len(a.Packs)
			}
		}
	}
	if n > maxPacks {
		return e, fmt.Errorf("%d packs, more than %d", n, maxPacks)
	}
	return e, nil
}

// unescape makes control characters of \xHH, in which WWKS 2 writes them. A backslash is in
// no GS1 text, so nothing else can be meant.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil && n < 0x20 {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// document writes one message of ours.
func document(now time.Time, body string) []byte {
	return []byte(`<WWKS Version="2.0" TimeStamp="` + now.UTC().Format("2006-01-02T15:04:05Z") + `">` + body + `</WWKS>`)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // into memory
	return b.String()
}

// subscriber names us. The only capability is KeepAlive: a robot must not ask us for
// anything that the stock system answers.
func subscriber(id string) string {
	return `<Subscriber Id="` + escape(id) + `" Type="IMS" Manufacturer="decom" ProductInfo="decom" VersionInfo="1.0"><Capability Name="KeepAlive"/></Subscriber>`
}

func helloRequest(now time.Time, id string) []byte {
	return document(now, `<HelloRequest Id="1" Source="`+escape(id)+`">`+subscriber(id)+`</HelloRequest>`)
}

func helloResponse(now time.Time, h *header, id string) []byte {
	return document(now, `<HelloResponse Id="`+escape(h.ID)+`" Source="`+escape(id)+`" Destination="`+escape(h.Source)+`">`+subscriber(id)+`</HelloResponse>`)
}

func keepRequest(now time.Time, n int, id, robot string) []byte {
	return document(now, fmt.Sprintf(`<KeepAliveRequest Id="%d" Source="%s" Destination="%s"/>`, n, escape(id), escape(robot)))
}

func keepResponse(now time.Time, h *header, id string) []byte {
	return document(now, `<KeepAliveResponse Id="`+escape(h.ID)+`" Source="`+escape(id)+`" Destination="`+escape(h.Source)+`"/>`)
}
