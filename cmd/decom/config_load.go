package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"

	"decom/worker/scan"
)

// mask stands for a secret in everything that is printed.
const mask = "***"

// loaded is a configuration with what is needed to speak about it.
type loaded struct {
	Config
	src      *source
	warnings []scan.Text
	stopped  []problem // stops one account and no process: config check tells it, a start warns
}

// loadConfig reads the four layers (defaults, file, environment, --set), joins
// relative paths and reads secret files. The error is an [exitError] with code
// 78 and names every problem. What it returns is complete for need; warnings are
// sentences for stderr and change nothing.
func (a *app) loadConfig(need need) (*loaded, error) {
	c, problems, err := a.readLayers()
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	if len(problems) == 0 {
		// Values are judged only when all of them could be read: a key that could
		// not be decoded would be reported a second time as missing.
		problems = c.check(need)
	}
	if len(problems) > 0 {
		return nil, exitWith(exitConfig, &configError{src: c.src, problems: problems})
	}
	for _, w := range c.warnings {
		a.warn(a.lang.of(w))
	}
	return c, nil
}

// readLayers does everything of loadConfig but the judging of values.
func (a *app) readLayers() (*loaded, []problem, error) {
	name := a.flags.config
	if name == "" {
		name = a.getenv("DECOM_CONFIG")
	}
	src, err := readSource(name)
	if err != nil {
		return nil, nil, err
	}
	c := &loaded{Config: defaultConfig(), src: src}
	problems := src.index()
	if len(problems) == 0 {
		problems = c.decodeFile()
	}
	problems = append(problems, c.applyEnviron(a.environ)...)
	problems = append(problems, c.applySet(a.flags.set)...)
	for i := range c.Accounts {
		c.Accounts[i].setDefaults()
	}
	c.joinPaths()
	return c, problems, nil
}

// decodeFile puts the file's values over the defaults.
func (c *loaded) decodeFile() []problem {
	if len(bytes.TrimSpace(c.src.data)) == 0 {
		return nil
	}
	// AllowDuplicateMapKey: a key that overrides a merged one (<<: *base) would
	// count as a duplicate. Real duplicates were refused by the parser, in index.
	dec := yaml.NewDecoder(bytes.NewReader(c.src.data), yaml.Strict(), yaml.AllowDuplicateMapKey())
	if err := dec.Decode(&c.Config); err != nil && !errors.Is(err, io.EOF) {
		p := yamlProblem(err)
		for key, t := range c.src.tokens { // name the key that the position belongs to
			if t.Position.Line == p.line && len(key) > len(p.key) {
				p.key = key
			}
		}
		return []problem{p}
	}
	return nil
}

// yamlProblem turns the decoder's error into a problem of ours.
func yamlProblem(err error) problem {
	p := problem{why: bothf("%s", err.Error())}
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &located) {
		return p
	}
	p.why = plainTypeError(located.GetMessage())
	if t := located.GetToken(); t != nil && t.Position != nil {
		p.line, p.col = t.Position.Line, t.Position.Column
	}
	return p
}

var goTypes = regexp.MustCompile(`^cannot unmarshal (.+) into Go (?:struct field \S+|value) of type (\S+)`)

// plainTypeError says a decoder's complaint without Go's words.
func plainTypeError(msg string) scan.Text {
	m := goTypes.FindStringSubmatch(msg)
	if m == nil {
		return bothf("%s", msg)
	}
	words := map[string]scan.Text{
		"string": bothf("text"), "int": bothf("a whole number"), "int64": bothf("a whole number"), "uint64": bothf("a number"), "float64": bothf("a number"),
		"bool": bothf("true or false"), "[]string": bothf("a list of texts"), "[]interface": bothf("a list"), "map[string]interface": bothf("a group of keys"),
		"time.Duration": bothf("a duration with its unit, as 3s, 20m or 24h"),
	}
	word := func(t string) scan.Text {
		t = strings.TrimSuffix(strings.TrimPrefix(t, "*"), " {}")
		if w, ok := words[t]; ok {
			return w
		}
		if strings.HasPrefix(t, "main.") || strings.HasPrefix(t, "[]main.") {
			return bothf("a group of keys")
		}
		return bothf("%s", t)
	}
	return bothf("has %s, wants %s", word(m[1]), word(m[2]))
}

// applyEnviron puts the DECOM_ variables over the file. NAME_FILE reads the
// value from a file, less its trailing newline. A name that is no key gives a
// warning: orchestrators invent variables (DECOM_SERVICE_HOST).
func (c *loaded) applyEnviron(environ []string) (problems []problem) {
	vars := map[string]string{}
	var names []string
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(name, "DECOM_") || name == "DECOM_CONFIG" {
			continue
		}
		if _, twice := vars[name]; !twice {
			names = append(names, name)
		}
		vars[name] = value
		if err := growAccounts(&c.Config, strings.TrimPrefix(name, "DECOM_"), "_"); err != nil {
			problems = append(problems, problem{why: bothf("%s: %v", name, err)})
		}
	}
	slices.Sort(names)
	byEnv := map[string]leaf{}
	for _, l := range leaves(&c.Config) {
		byEnv[l.env()] = l
	}
	for _, name := range names {
		value := vars[name]
		l, ok := byEnv[name]
		if !ok {
			var file bool
			if l, file = byEnv[strings.TrimSuffix(name, "_FILE")]; !file {
				c.warnings = append(c.warnings, bothf("%s is set, but there is no such key%s", name, hint(name, slices.Collect(maps.Keys(byEnv)))))
				continue
			}
			secret, err := readSecret(c.src.join(value))
			if err != nil {
				problems = append(problems, problem{key: l.path, why: bothf("%v (from %s)", err, name)})
				continue
			}
			value = secret
		}
		problems = append(problems, c.setLeaf(l, value, name)...)
	}
	return problems
}

// setLeaf sets one key from a layer above the file.
func (c *loaded) setLeaf(l leaf, value, origin string) []problem {
	c.src.origin[l.path] = origin
	err := l.set(value)
	if !utf8.ValidString(value) { // an accent from a terminal or editor of another age: NMVS would get another password
		err = errNotUTF8
	}
	if err != nil {
		if l.secret() && err != errNotUTF8 {
			err = spokenf("ne peut pas être réglé ainsi", "cannot be set")
		}
		return []problem{{key: l.path, why: bothf("%v (from %s)", err, origin)}}
	}
	return nil
}

// applySet puts the --set flags over everything; the last one of a key wins.
func (c *loaded) applySet(sets []string) (problems []problem) {
	told := map[string]bool{}
	for _, kv := range sets {
		key, _, ok := strings.Cut(kv, "=")
		if !ok {
			problems = append(problems, problem{why: bothf("--set %s: wants key=value", kv)})
		} else if err := growAccounts(&c.Config, key, "."); err != nil {
			problems, told[key] = append(problems, problem{why: bothf("--set %s: %v", key, err)}), true
		}
	}
	byPath := map[string]leaf{}
	for _, l := range leaves(&c.Config) {
		byPath[l.path] = l
	}
	for _, kv := range sets {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || told[key] {
			continue
		}
		l, known := byPath[key]
		if !known {
			problems = append(problems, problem{why: bothf("--set %s: unknown key%s", key, hint(key, slices.Collect(maps.Keys(byPath))))})
			continue
		}
		problems = append(problems, c.setLeaf(l, value, "--set")...)
	}
	return problems
}

// joinPaths makes relative paths start at the configuration file's folder,
// whichever layer they come from.
func (c *loaded) joinPaths() {
	for _, l := range leaves(&c.Config) {
		kind := l.tag.Get("path")
		if kind == "" || l.value.String() == "" {
			continue
		}
		text, prefix := l.value.String(), ""
		if kind == "creds" {
			if rest, ok := strings.CutPrefix(text, "nkey:"); ok {
				text, prefix = rest, "nkey:"
			}
		}
		l.value.SetString(prefix + c.src.join(text))
	}
}

func (s *source) join(path string) string {
	if path == "" || filepath.IsAbs(path) || s.dir == "" {
		return path
	}
	return filepath.Join(s.dir, path)
}

func dirOf(name string) string { return filepath.Dir(name) }

// readSecret reads a file that holds one secret; a trailing newline is not part
// of it (contract.md section 7), anything else is, spaces included.
func readSecret(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(b), "\n")
	text = strings.TrimSuffix(text, "\r")
	switch {
	case text == "":
		return "", spokenf("%s est vide", "%s is empty", name)
	case !utf8.ValidString(text):
		return "", spokenf("%[1]s n'est pas du texte UTF-8 : l'enregistrer en UTF-8", "%[1]s %[2]w", name, errNotUTF8)
	}
	return text, nil
}

// errNotUTF8: text in another encoding cannot reach NMVS as it was meant.
var errNotUTF8 = spokenf("n'est pas du texte UTF-8 : l'enregistrer en UTF-8", "is not UTF-8 text: save it as UTF-8")

// urlPassword finds user:password@ and token@ in URLs, also several in one text. A
// password with a space makes no URL, but must not be shown for that.
var urlPassword = regexp.MustCompile(`(://(?:[^\s/:@,]*:)?)[^/@,"']+@`)

func maskURL(text string) string { return urlPassword.ReplaceAllString(text, "${1}"+mask+"@") }

// masked returns a copy without secrets, for printing.
func (c Config) masked() Config {
	c.Accounts = slices.Clone(c.Accounts)
	for _, l := range leaves(&c) {
		if l.value.Kind() != reflect.String || l.value.String() == "" {
			continue
		}
		switch l.tag.Get("secret") {
		case "true":
			l.value.SetString(mask)
		case "url":
			l.value.SetString(maskURL(l.value.String()))
		}
	}
	return c
}

// yamlText prints the configuration as a file that loads again.
func (c Config) yamlText() (string, error) {
	b, err := yaml.MarshalWithOptions(c, yaml.IndentSequence(true), yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) {
		return []byte(plainDuration(d)), nil
	}))
	return string(b), err
}

// plainDuration prints 20m instead of 20m0s.
func plainDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// hasPassword says whether a URL carries one.
func hasPassword(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.User != nil {
			if _, ok := u.User.Password(); ok {
				return true
			}
		}
	}
	return false
}
