package packstate

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"decom/worker/ledger"
)

// ErrHeadFile marks a head file that cannot be read or is not whole: the disk
// lost something, which a person must look at (protocol.md section 9).
var ErrHeadFile = errors.New("head file is damaged")

// headFiles keep the newest head of each account that anything was sent for: all
// that a store inside the process can witness after its end.
type headFiles struct {
	dir string
	mu  sync.Mutex // held across the write: the file must never go back
	// guarded by mu
	saved map[string]ledger.Head
}

func openHeadFiles(dir string) (*headFiles, error) {
	dir = filepath.Join(dir, "heads")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	return &headFiles{dir: dir, saved: map[string]ledger.Head{}}, nil
}

// SaveHead puts the head on disk, fsynced, before the caller sends anything that
// rests on it (protocol.md sections 3 S7 and 9). A head older than the one saved
// is passed over. On a Redis server it does nothing: that one remembers itself.
func (s *Store) SaveHead(acc string, h ledger.Head) error {
	if s.heads == nil {
		return nil
	}
	if err := s.heads.save(acc, h); err != nil {
		return fmt.Errorf("save head of %s: %w", acc, err)
	}
	return nil
}

// LoadHead returns the head saved by an earlier run; false when there is none
// (or with a Redis server). A ledger that does not hold it has lost records:
// HALT. [ErrHeadFile]: the file is damaged, HALT too.
func (s *Store) LoadHead(acc string) (ledger.Head, bool, error) {
	if s.heads == nil {
		return ledger.Head{}, false, nil
	}
	h, ok, err := s.heads.load(acc)
	if err != nil {
		return ledger.Head{}, false, fmt.Errorf("load head of %s: %w", acc, err)
	}
	return h, ok, nil
}

func (f *headFiles) path(acc string) string { return filepath.Join(f.dir, acc+".head") }

func (f *headFiles) save(acc string, h ledger.Head) error {
	_, err := account(acc)
	text, err2 := formatHead(h)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old, known := f.saved[acc]
	if !known {
		if old, known, err = f.load(acc); err != nil {
			return err
		}
	}
	switch {
	case known && old.Seq == h.Seq && old.Hash != h.Hash:
		return fmt.Errorf("record %d is %.8s on file and %.8s now: the ledger has forked", h.Seq, old.Hash, h.Hash)
	case known && old.Seq >= h.Seq:
		f.saved[acc] = old
		return nil
	}
	if err := writeWhole(f.path(acc), headLine(text)); err != nil {
		return err
	}
	f.saved[acc] = h
	return nil
}

// Forget removes the saved head of an account: only after a person has ended a
// halt for ledger loss, whose newer records must not be missed at each start.
// It does nothing on a Redis server.
func (s *Store) ForgetHead(acc string) error {
	if s.heads == nil {
		return nil
	}
	if _, err := account(acc); err != nil {
		return fmt.Errorf("forget head: %w", err)
	}
	f := s.heads
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.Remove(f.path(acc)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget head of %s: %w", acc, err)
	}
	delete(f.saved, acc)
	return syncDir(f.dir)
}

const headMagic = "decom-head-1 "

func headLine(head string) []byte {
	return fmt.Appendf(nil, "%s%s %08x\n", headMagic, head, crc32.ChecksumIEEE([]byte(head)))
}

func (f *headFiles) load(acc string) (ledger.Head, bool, error) {
	if _, err := account(acc); err != nil {
		return ledger.Head{}, false, err
	}
	b, err := os.ReadFile(f.path(acc))
	if errors.Is(err, fs.ErrNotExist) {
		return ledger.Head{}, false, nil
	}
	if err != nil {
		return ledger.Head{}, false, fmt.Errorf("%w: %w", ErrHeadFile, err)
	}
	rest, _ := strings.CutPrefix(string(b), headMagic)
	text := rest[:max(strings.LastIndexByte(rest, ' '), 0)]
	h, err := parseHead(text)
	if err != nil || string(headLine(text)) != string(b) {
		return ledger.Head{}, false, fmt.Errorf("%w: %s (%d bytes) is cut off or was changed; "+
			"compare the ledger with the last outcomes, then remove the file", ErrHeadFile, f.path(acc), len(b))
	}
	return h, true, nil
}

// writeWhole replaces a file so that after a crash it is the old one or the new
// one: the content is on disk before the name, and the name before we go on.
func writeWhole(path string, b []byte) error {
	dir, tmp := filepath.Dir(path), path+".new"
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
