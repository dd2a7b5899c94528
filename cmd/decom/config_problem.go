package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"decom/worker/scan"
)

// problem is one thing that is wrong with the configuration.
type problem struct {
	key  string    // path of the key, or ""
	why  scan.Text // one clause
	line int       // in the file, from 1; 0 = not the file's fault
	col  int       // from 1
}

// source is the configuration file, kept to show where a problem stands, and
// the origin of every key that a later layer set.
type source struct {
	name   string // as the user gave it; "" = no file
	dir    string // relative paths start here
	data   []byte
	tokens map[string]*token.Token // first token of every key of the file, by path
	origin map[string]string       // path -> DECOM_X or --set
}

// readSource reads the file; an empty name is an empty configuration.
func readSource(name string) (*source, error) {
	s := &source{name: name, tokens: map[string]*token.Token{}, origin: map[string]string{}}
	if name == "" {
		return s, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, spokenf("configuration : %[2]v", "configuration: %[1]w", err, french.inLanguage(spokenFileError(err)))
	}
	s.dir = dirOf(name)
	s.data = bytes.TrimPrefix(data, []byte("\ufeff"))
	return s, nil
}

// at fills in where the problem of a key stands: at the key itself, or at the
// nearest key above it that the file has.
func (s *source) at(key string, why scan.Text) problem {
	p := problem{key: key, why: why}
	if s.origin[key] != "" {
		p.why = bothf("%s (from %s)", why, s.origin[key])
		return p
	}
	for path := key; path != ""; {
		if t := s.tokens[path]; t != nil {
			p.line, p.col = t.Position.Line, t.Position.Column
			return p
		}
		i := strings.LastIndexByte(path, '.')
		path = path[:max(i, 0)]
	}
	return p
}

// text shows a problem: one sentence, then the line with a caret below.
func (s *source) text(l language, p problem) string {
	var b strings.Builder
	if p.line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", s.name, p.line, p.col)
	}
	if p.key != "" {
		b.WriteString(p.key + l.of(colon))
	}
	b.WriteString(l.of(p.why))
	if p.line > 0 {
		b.WriteString(s.excerpt(p))
	}
	return b.String()
}

// excerpt is the line of the file and a caret, without the value of a secret.
func (s *source) excerpt(p problem) string {
	lines := strings.Split(string(s.data), "\n")
	if p.line > len(lines) {
		return ""
	}
	line := strings.TrimRight(lines[p.line-1], "\r")
	if name, _, ok := strings.Cut(line, ":"); ok {
		switch key := strings.Trim(name, " -\"'{"); key {
		case "password", "passphrase":
			line = name + ": " + mask
		}
	}
	line = flowSecret.ReplaceAllStringFunc(line, starsForValue)
	runes := []rune(line)
	var pad strings.Builder
	for _, r := range runes[:min(max(p.col-1, 0), len(runes))] {
		if r == '\t' {
			pad.WriteRune('\t') // a tab moves the caret as far as it moved the text
		} else {
			pad.WriteByte(' ')
		}
	}
	number := strconv.Itoa(p.line)
	return fmt.Sprintf("\n  %s | %s\n  %s | %s^", number, maskURL(line), strings.Repeat(" ", len(number)), pad.String())
}

// flowSecret finds a secret inside {braces}, where other keys stand on the same line.
var flowSecret = regexp.MustCompile(`\b(?:password|passphrase)["']?\s*:\s*("[^"]*"?|'[^']*'?|[^,}\]\s][^,}\]]*)`)

// starsForValue hides the value in a match of flowSecret. The line keeps its length, so
// that the caret stays below what it points at.
func starsForValue(match string) string {
	name, value, _ := strings.Cut(match, ":")
	trimmed := strings.TrimLeft(value, " \t")
	if trimmed == mask {
		return match
	}
	return name + ":" + value[:len(value)-len(trimmed)] + strings.Repeat("*", utf8.RuneCountInString(trimmed))
}

// configError is every problem of a configuration at once, in the file's order.
type configError struct {
	src      *source
	problems []problem
}

// Error is the English text.
func (e *configError) Error() string { return e.in(english) }

// in is the text in a language: every problem, with its line and a caret.
func (e *configError) in(l language) string {
	sort.SliceStable(e.problems, func(i, j int) bool {
		a, b := e.problems[i], e.problems[j]
		if (a.line > 0) != (b.line > 0) {
			return a.line > 0
		}
		return a.line < b.line || a.line == b.line && a.col < b.col
	})
	texts := make([]string, len(e.problems))
	for i, p := range e.problems {
		texts[i] = e.src.text(l, p)
	}
	if len(texts) == 1 {
		return "configuration" + l.of(colon) + texts[0]
	}
	return fmt.Sprintf(l.of(scan.Text{FR: "configuration : %d problèmes\n%s", EN: "configuration: %d problems\n%s"}), len(texts), strings.Join(texts, "\n"))
}

// index parses the file and remembers where every key stands. It returns the
// keys that the configuration does not have; a file that is no YAML gives its
// one syntax error.
func (s *source) index() []problem {
	file, err := parser.ParseBytes(s.data, 0)
	if err != nil {
		return []problem{yamlProblem(err)}
	}
	switch len(file.Docs) {
	case 0:
		return nil
	case 1:
	default:
		return []problem{{why: bothf("has several documents (---), wants one"), line: documentStart(file.Docs[1]), col: 1}}
	}
	ix := indexer{src: s}
	ix.node(file.Docs[0].Body, keysOf(), "")
	return ix.problems
}

func documentStart(d *ast.DocumentNode) int {
	if d.Start != nil {
		return d.Start.Position.Line
	}
	return d.GetToken().Position.Line
}

// indexer walks the file's tree beside the tree of known keys.
type indexer struct {
	src      *source
	problems []problem
}

func (ix *indexer) node(n ast.Node, known *keyTree, path string) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		ix.node(n.Value, known, path)
	case *ast.TagNode:
		ix.node(n.Value, known, path)
	case *ast.MappingNode:
		for i, v := range n.Values {
			if _, merge := v.Key.(*ast.MergeKeyNode); merge && i > 0 {
				// The decoder lets a later merge win over the keys before it, YAML does not.
				t := v.Key.GetToken()
				ix.problems = append(ix.problems, problem{key: path, why: bothf("<<: must come before the other keys"), line: t.Position.Line, col: t.Position.Column})
			}
			ix.entry(v, known, path)
		}
	case *ast.MappingValueNode:
		ix.entry(n, known, path)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			if known.item == nil {
				break // a list where none belongs: the decoder says so
			}
			item := join(path, strconv.Itoa(i))
			ix.src.tokens[item] = startOf(v)
			ix.node(v, known.item, item)
		}
	case ast.ScalarNode:
		ix.duration(n, known, path)
	}
}

// duration judges durations here, because the decoder does not say where a wrong
// one stands.
func (ix *indexer) duration(n ast.ScalarNode, known *keyTree, path string) {
	if !known.duration || n.Type() == ast.NullType {
		return
	}
	t := n.GetToken()
	if _, err := parseDuration(t.Value); err != nil {
		ix.problems = append(ix.problems, problem{key: path, why: bothf("%v", err), line: t.Position.Line, col: t.Position.Column})
	}
}

// startOf is the first token of a value; a block mapping's own token is a colon.
func startOf(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.AnchorNode:
		return n.Start
	}
	return n.GetToken()
}

func (ix *indexer) entry(v *ast.MappingValueNode, known *keyTree, path string) {
	if _, merge := v.Key.(*ast.MergeKeyNode); merge || known.keys == nil {
		return // what a merge brings in is checked by the decoder
	}
	t := v.Key.GetToken()
	key := join(path, t.Value)
	child := known.keys[t.Value]
	if child == nil {
		ix.problems = append(ix.problems, problem{key: key, why: bothf("unknown key%s", known.hint(t.Value)), line: t.Position.Line, col: t.Position.Column})
		return
	}
	ix.src.tokens[key] = t
	ix.node(v.Value, child, key)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
