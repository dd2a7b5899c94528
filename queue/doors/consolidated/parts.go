package consolidated

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
)

// chunkRows is how many rows are stored in one message: some 250 KiB, well below what a
// server takes.
const chunkRows = 2000

// chunk is one message of a document's part. I tells copies apart: a publish whose answer
// was lost is repeated.
type chunk struct {
	I       int         `json:"i"`
	Rows    []Row       `json:"rows,omitempty"`
	Refused []Refusal   `json:"refused,omitempty"`
	Boxes   []Container `json:"boxes,omitempty"`
}

// encodeParts returns the messages of rows and of containers, and the digest of both.
func encodeParts(l *List) (rows, boxes [][]byte, digest string, err error) {
	sum := sha256.New()
	add := func(to *[][]byte, c chunk) {
		c.I = len(*to)
		b, merr := json.Marshal(c)
		if merr != nil {
			err = merr
			return
		}
		_, _ = sum.Write(b) // a hash never fails
		*to = append(*to, b)
	}
	for at := 0; at < len(l.Rows); at += chunkRows {
		part := l.Rows[at:min(at+chunkRows, len(l.Rows))]
		add(&rows, chunk{Rows: part})
	}
	for at := 0; at < len(l.Refused); at += chunkRows {
		add(&rows, chunk{Refused: l.Refused[at:min(at+chunkRows, len(l.Refused))]})
	}
	for at := 0; at < len(l.Containers); at += chunkRows {
		add(&boxes, chunk{Boxes: l.Containers[at:min(at+chunkRows, len(l.Containers))]})
	}
	return rows, boxes, hex.EncodeToString(sum.Sum(nil)), err
}

// partReader takes the messages of a part once each, in order.
type partReader struct {
	next  int
	sum   hash.Hash
	words map[string]string
	list  *List
}

func (p *partReader) take(body []byte) error {
	var c chunk
	if err := json.Unmarshal(body, &c); err != nil {
		return fmt.Errorf("stored rows cannot be read: %w", err)
	}
	if c.I != p.next {
		return nil // a copy
	}
	p.next++
	_, _ = p.sum.Write(body) // a hash never fails
	for i := range c.Rows {
		r := &c.Rows[i]
		r.Scheme, r.Code, r.Batch, r.Expiry = p.word(r.Scheme), p.word(r.Code), p.word(r.Batch), p.word(r.Expiry)
	}
	p.list.Rows = append(p.list.Rows, c.Rows...)
	p.list.Refused = append(p.list.Refused, c.Refused...)
	p.list.Containers = append(p.list.Containers, c.Boxes...)
	return nil
}

func (p *partReader) word(s string) string {
	if w, ok := p.words[s]; ok {
		return w
	}
	s = strings.Clone(s)
	p.words[s] = s
	return s
}

// readParts reads a document's rows back and holds them against what its first note says.
func readParts(ctx context.Context, s Shelf, doc string, a *Added) (*List, error) {
	l := &List{Format: a.Format, Deliveries: a.Deliveries, Ignored: a.Ignored}
	p := partReader{sum: sha256.New(), words: map[string]string{}, list: l}
	if err := s.Part(ctx, doc, a.Part, p.take); err != nil {
		return nil, err
	}
	rows := p.next
	p.next = 0
	if err := s.Part(ctx, doc, a.Part+boxesSuffix, p.take); err != nil {
		return nil, err
	}
	if rows != a.Chunks || p.next != a.Boxes || hex.EncodeToString(p.sum.Sum(nil)) != a.Digest {
		return nil, problem("les lignes enregistrées de %s ne sont plus celles du fichier (flux effacé en partie ?) ; rien n'est publié : supprimez-le avec « decom consolidated drop », puis scannez les boîtes une à une",
			"the stored rows of %s are not those of the file any more (the stream was cut?); nothing is published: drop it with \"decom consolidated drop\" and scan the packs one by one", doc)
	}
	return l, nil
}

const boxesSuffix = "-boxes"
