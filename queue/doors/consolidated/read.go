package consolidated

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
)

// Read reads a file of any of the formats, told apart by its first bytes, and returns the
// list and the file's name, the beginning of the SHA-256 of its bytes. delivery is the
// delivery note of packs that name none; may be empty. A *[Problem] says that nothing of
// the file can be used; single rows that cannot are in List.Refused.
func Read(r io.Reader, check Check, delivery string) (*List, string, error) {
	hash := sha256.New()
	limited := &io.LimitedReader{R: r, N: MaxBytes + 1}
	b := bufio.NewReaderSize(io.TeeReader(limited, hash), 64<<10)
	c := newCollector(check)
	err := c.read(b)
	if err == nil {
		_, err = io.Copy(io.Discard, b) // what a reader left is part of the hash
	}
	if limited.N <= 0 {
		err = problem("le fichier dépasse %d Mio", "the file is larger than %d MiB", MaxBytes>>20)
	}
	if err != nil {
		return nil, "", err
	}
	l, err := c.finish()
	if err != nil {
		return nil, "", err
	}
	if l.Declared() == 0 {
		return nil, "", problem("le fichier ne liste aucune boîte", "the file lists no pack")
	}
	if delivery != "" {
		for i := range l.Rows {
			if len(l.Rows[i].Deliv) == 0 {
				l.Rows[i].Deliv = []int32{c.delivery(delivery)}
			}
		}
	}
	return l, hex.EncodeToString(hash.Sum(nil)[:12]), nil
}

func (c *collector) read(b *bufio.Reader) error {
	head, _ := b.Peek(512) // a shorter file is no fault
	if bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}) {
		return problem("le fichier est en UTF-16 ; enregistrez-le en UTF-8", "the file is UTF-16; save it as UTF-8")
	}
	if slices.Contains(head, 0) {
		return problem("ce n'est pas un fichier texte (un classeur Excel ?) ; il faut du XML, du JSON ou du CSV", "this is no text file (an Excel workbook?); XML, JSON or CSV is needed")
	}
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return problem("c'est un fichier compressé ou un classeur Excel ; il faut du XML, du JSON ou du CSV", "this is a zip file or an Excel workbook; XML, JSON or CSV is needed")
	case bytes.HasPrefix(head, []byte("<")):
		c.list.Format = "epcis-xml"
		dropBOM(b)
		return c.readXML(b)
	case bytes.HasPrefix(head, []byte("{")):
		c.list.Format = "epcis-json"
		dropBOM(b)
		return c.readJSON(b)
	}
	c.list.Format = "csv"
	return c.readCSV(b)
}

func dropBOM(b *bufio.Reader) {
	if head, err := b.Peek(3); err == nil && string(head) == "\ufeff" {
		_, _ = b.Discard(3) // just peeked
	}
}
