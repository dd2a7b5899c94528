package files

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// file is what is remembered of one content.
type file struct {
	Hash    string `json:"sha256"`
	Name    string `json:"name"`
	Begun   string `json:"begun"`          // time of line 1, fixed before the first scan left
	Done    string `json:"done,omitempty"` // when all of it was stored; "": not yet
	Stored  int    `json:"stored,omitempty"`
	Refused int    `json:"refused,omitempty"`
}

// memory is a file of JSON lines, the last one of a hash counts. It is synced before
// anything rests on it.
type memory struct {
	f     *os.File
	files map[string]file // by hash
}

// openMemory reads what is there. Half a line at the end is what a crash left of a note
// that nothing rests on.
func openMemory(name string) (*memory, error) {
	m := &memory{files: map[string]file{}}
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := 0
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		var f file
		if err := json.Unmarshal(sc.Bytes(), &f); err == nil && f.Hash != "" {
			m.files[f.Hash] = f
		} else if whole+len(sc.Bytes())+1 <= len(data) {
			return nil, fmt.Errorf("%s: the line at byte %d cannot be read: what was sent is not known; put the line right or take it out", name, whole)
		}
		whole += len(sc.Bytes()) + 1
	}
	if m.f, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	if n := bytes.LastIndexByte(data, '\n') + 1; n < len(data) {
		if err := m.f.Truncate(int64(n)); err != nil {
			return nil, errors.Join(err, m.f.Close())
		}
	}
	return m, nil
}

// note remembers f durably.
func (m *memory) note(f file) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if _, err := m.f.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := m.f.Sync(); err != nil {
		return err
	}
	m.files[f.Hash] = f
	return nil
}

func (m *memory) close() { _ = m.f.Close() } // every note is synced
