package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"decom/worker/scan"
)

// keyTree is the set of keys that the configuration knows.
type keyTree struct {
	keys map[string]*keyTree // of a group; nil for a value
	item *keyTree            // of a list's items

	duration bool // the value is one
}

func keysOf() *keyTree { return treeOf(reflect.TypeFor[Config]()) }

func treeOf(t reflect.Type) *keyTree {
	switch {
	case t.Kind() == reflect.Struct:
		tree := &keyTree{keys: map[string]*keyTree{}}
		for field := range t.Fields() {
			tree.keys[keyOf(field)] = treeOf(field.Type)
		}
		return tree
	case t.Kind() == reflect.Slice:
		return &keyTree{item: treeOf(t.Elem())}
	case t.Kind() == reflect.Pointer:
		return treeOf(t.Elem())
	}
	return &keyTree{duration: t == reflect.TypeFor[time.Duration]()}
}

func (k *keyTree) hint(name string) scan.Text { return hint(name, slices.Collect(maps.Keys(k.keys))) }

// hint proposes the known word that a mistyped one probably means, or nothing.
func hint(word string, known []string) scan.Text {
	if best := near(word, known, 1); len(best) == 1 {
		return bothf(", did you mean %s?", best[0])
	}
	return scan.Text{}
}

// near returns up to n known words that are few typing errors away, best first.
func near(word string, known []string, n int) []string {
	type scored struct {
		word string
		far  int
	}
	var found []scored
	for _, k := range known {
		far := distance(strings.ToLower(word), strings.ToLower(k))
		if far <= max(1, len(word)/3) {
			found = append(found, scored{k, far})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.word, b.word)
	})
	words := make([]string, 0, n)
	for _, s := range found[:min(n, len(found))] {
		words = append(words, s.word)
	}
	return words
}

// distance is Levenshtein's: insertions, deletions and replacements.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
