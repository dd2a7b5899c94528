package packstate_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
)

const acc = "chu-test"

var headAt = packstatetest.HeadAt

func saveHead(t *testing.T, s *packstate.Store, h ledger.Head) {
	t.Helper()
	if err := s.SaveHead(acc, h); err != nil {
		t.Fatal(err)
	}
}

func wantSaved(t *testing.T, s *packstate.Store, want ledger.Head) {
	t.Helper()
	if h, ok, err := s.LoadHead(acc); err != nil || ok != (want.Seq != 0) || h != want {
		t.Fatalf("LoadHead = %v, %v, %v; want %v", h, ok, err, want)
	}
}

func TestSavedHeadOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, packstate.Config{Dir: dir})
	wantSaved(t, s, ledger.Head{})
	saveHead(t, s, headAt(5, ""))
	saveHead(t, s, headAt(7, ""))
	saveHead(t, s, headAt(6, "")) // a slower sender: never back
	wantSaved(t, s, headAt(7, ""))

	again := open(t, packstate.Config{Dir: dir}) // the first was never closed, as after a crash
	wantSaved(t, again, headAt(7, ""))
	saveHead(t, again, headAt(6, ""))
	wantSaved(t, again, headAt(7, ""))
	if err := again.SaveHead(acc, headAt(7, "other")); err == nil {
		t.Error("another history in the same place was saved")
	}
	if h, ok, err := again.LoadHead("other-account"); ok || err != nil {
		t.Errorf("another account has %v, %v", h, err)
	}
	if err := again.ForgetHead(acc); err != nil {
		t.Fatal(err)
	}
	wantSaved(t, again, ledger.Head{})
	saveHead(t, again, headAt(3, "new"))
	wantSaved(t, again, headAt(3, "new"))
}

// A crash may come between any two steps of the write; what is left of the
// unfinished file must not be read, nor be in the way.
func TestCrashWhileSavingLeavesTheOldHead(t *testing.T) {
	dir := t.TempDir()
	saveHead(t, open(t, packstate.Config{Dir: dir}), headAt(5, ""))
	if err := os.WriteFile(headPath(dir)+".new", []byte("decom-head-1 6 ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, packstate.Config{Dir: dir})
	wantSaved(t, s, headAt(5, ""))
	saveHead(t, s, headAt(6, ""))
	wantSaved(t, open(t, packstate.Config{Dir: dir}), headAt(6, ""))
}

func headPath(dir string) string { return filepath.Join(dir, "heads", acc+".head") }

func TestDamagedHeadFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	saveHead(t, open(t, packstate.Config{Dir: dir}), headAt(5, ""))
	good, err := os.ReadFile(headPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(string(good))
	flipped[len("decom-head-1 ")] = '6' // another sequence, same checksum
	for what, b := range map[string][]byte{
		"empty": {}, "cut off": good[:len(good)/2], "without the end of line": good[:len(good)-1],
		"another sequence": flipped, "twice": append(good, good...), "zeros": make([]byte, len(good)),
		"other version": []byte(strings.Replace(string(good), "head-1", "head-2", 1)),
	} {
		if err := os.WriteFile(headPath(dir), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, packstate.Config{Dir: dir})
		h, ok, err := s.LoadHead(acc)
		if !errors.Is(err, packstate.ErrHeadFile) || ok || h != (ledger.Head{}) || !strings.Contains(err.Error(), headPath(dir)) {
			t.Errorf("%s: LoadHead = %v, %v, %v", what, h, ok, err)
		}
		if err := s.SaveHead(acc, headAt(9, "")); !errors.Is(err, packstate.ErrHeadFile) {
			t.Errorf("%s: the damage was written over: %v", what, err)
		}
	}
}

func TestHeadThatCannotBeWrittenIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := open(t, packstate.Config{Dir: dir})
	if err := os.RemoveAll(filepath.Join(dir, "heads")); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveHead(acc, headAt(1, "")); err == nil {
		t.Error("SaveHead into a missing folder succeeded")
	}
	for _, h := range []ledger.Head{{Seq: 1}, {Seq: 1, Hash: "../x"}} {
		if err := s.SaveHead(acc, h); err == nil {
			t.Errorf("head %v was saved", h)
		}
	}
	if err := s.SaveHead("../x", headAt(1, "")); err == nil {
		t.Error("an account outside the folder was saved")
	}
	if _, _, err := s.LoadHead("../x"); err == nil {
		t.Error("an account outside the folder was read")
	}
}

func TestManySendersSaveTheNewestHead(t *testing.T) {
	s := open(t, packstate.Config{Dir: t.TempDir()})
	var wg sync.WaitGroup
	for seq := range uint64(40) {
		wg.Go(func() {
			if err := s.SaveHead(acc, headAt(seq+1, "")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantSaved(t, s, headAt(40, ""))
}

func TestARealServerNeedsNoHeadFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, packstate.Config{URL: packstatetest.Redis(t), Dir: dir})
	saveHead(t, s, headAt(1, ""))
	wantSaved(t, s, ledger.Head{})
	if found, err := os.ReadDir(dir); err != nil || len(found) != 0 {
		t.Errorf("%v in the folder, %v", found, err)
	}
}
