package httpdoor

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"decom/worker/scan"
)

// AnyDevice is the device of a token that speaks for its whole site.
const AnyDevice = "*"

// Principal is who a token speaks for.
type Principal struct {
	Site   string
	Device string // AnyDevice: every device of the site
}

func (p Principal) name() string { return p.Site + "/" + p.Device }

// token is one line of the file.
type token struct {
	who  Principal
	hash [sha256.Size]byte
}

// hashPrefix stands before a hash, so that a token pasted into the file by mistake is
// told from one.
const hashPrefix = "sha256:"

// NewToken makes a token of 256 random bits and the line of the tokens file that lets it
// in. The token itself is kept nowhere.
func NewToken(who Principal) (secret, line string, err error) {
	if err := who.check(); err != nil {
		return "", "", err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", "", err
	}
	secret = "decom_" + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(secret))
	return secret, fmt.Sprintf("%s %s %s%s", who.Site, who.Device, hashPrefix, hex.EncodeToString(sum[:])), nil
}

func (p Principal) check() error {
	if !scan.ValidToken(p.Site) {
		return fmt.Errorf("site %q must be 1 to 64 of A-Z a-z 0-9 _ -", p.Site)
	}
	if p.Device != AnyDevice && !scan.ValidToken(p.Device) {
		return fmt.Errorf("device %q must be 1 to 64 of A-Z a-z 0-9 _ -, or * for every device of the site", p.Device)
	}
	return nil
}

// ParseTokens reads a tokens file: a line a token, SITE DEVICE sha256:HEX, words apart by
// spaces, what follows is a note; # begins a comment. Several tokens may name one device,
// so that a new one is in before the old one goes. The error names every wrong line.
func ParseTokens(r io.Reader) ([]token, error) {
	var list []token
	var errs []error
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		text := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff"))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		t, err := parseToken(strings.Fields(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		list = append(list, t)
	}
	return list, errors.Join(append(errs, sc.Err())...)
}

func parseToken(words []string) (t token, err error) {
	if len(words) < 3 {
		return t, errors.New("wants SITE DEVICE sha256:HEX")
	}
	t.who = Principal{Site: words[0], Device: words[1]}
	if err := t.who.check(); err != nil {
		return t, err
	}
	text, ok := strings.CutPrefix(words[2], hashPrefix)
	hash, err := hex.DecodeString(text)
	if !ok || err != nil || len(hash) != len(t.hash) {
		return t, errors.New("the third word must be sha256: and 64 hexadecimal digits, never a token itself")
	}
	copy(t.hash[:], hash)
	return t, nil
}

// CheckTokens says what is wrong with a tokens file.
func CheckTokens(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = ParseTokens(f)
	return err
}

// Secrets opens a tokens file for a door of another kind. What it returns says whom a
// secret speaks for, from any goroutine, and follows the file as it changes; tell hears of a
// file that cannot be read any more, and the tokens of before stay.
func Secrets(file string, tell func(error)) (find func(secret string) (Principal, bool), err error) {
	t, err := openTokens(file, tell)
	if err != nil {
		return nil, err
	}
	return func(secret string) (Principal, bool) { return t.find(secret, time.Now()) }, nil
}

// tokens is the file as it stands, read again when it changes.
type tokens struct {
	file string
	tell func(error) // a file that cannot be read any more; the tokens of before stay

	mu      sync.Mutex
	list    []token   // guarded by mu, as the rest
	looked  time.Time // when the file was looked at
	changed time.Time // its modification time then
	size    int64
}

// lookEvery is how old an answer about the file may be: a token is in or out within it.
const lookEvery = time.Second

func openTokens(file string, tell func(error)) (*tokens, error) {
	t := &tokens{file: file, tell: tell}
	return t, t.read(time.Now())
}

// read takes the file in. The caller holds mu or is alone.
func (t *tokens) read(now time.Time) error {
	t.looked = now
	f, err := os.Open(t.file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.ModTime().Equal(t.changed) && st.Size() == t.size {
		return nil
	}
	t.changed, t.size = st.ModTime(), st.Size()
	list, err := ParseTokens(f)
	if err != nil {
		return fmt.Errorf("%s: %w", t.file, err)
	}
	t.list = list
	return nil
}

// find returns who the secret speaks for. Every hash is compared, each in constant time.
func (t *tokens) find(secret string, now time.Time) (who Principal, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.looked) >= lookEvery {
		if err := t.read(now); err != nil {
			t.tell(err)
		}
	}
	for i := range t.list {
		if subtle.ConstantTimeCompare(sum[:], t.list[i].hash[:]) == 1 {
			who, ok = t.list[i].who, true
		}
	}
	return who, ok
}
