package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// maxAccounts bounds what DECOM_ACCOUNTS_N_... and --set accounts.N... may
// create, so that a typing error does not allocate a million accounts.
const maxAccounts = 1000

// leaf is one key of the configuration that holds a value.
type leaf struct {
	path  string // as --set takes it: accounts.0.limits.single
	value reflect.Value
	tag   reflect.StructTag
}

// env is the variable that overrides this key.
func (l leaf) env() string {
	return "DECOM_" + strings.ToUpper(strings.ReplaceAll(l.path, ".", "_"))
}

// secret says whether the value must not be printed.
func (l leaf) secret() bool { return l.tag.Get("secret") == "true" }

// leaves returns every key of c, accounts by index, in the order of the struct.
// File, environment, --set, masking and path joining all go through here, so
// that no key can be forgotten by one of them.
func leaves(c *Config) []leaf {
	var all []leaf
	walk(reflect.ValueOf(c).Elem(), "", func(l leaf) { all = append(all, l) })
	return all
}

func walk(v reflect.Value, prefix string, visit func(leaf)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := prefix + keyOf(f)
		value := v.Field(i)
		switch {
		case f.Type.Kind() == reflect.Struct:
			walk(value, path+".", visit)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			for n := range value.Len() {
				walk(value.Index(n), path+"."+strconv.Itoa(n)+".", visit)
			}
		default:
			visit(leaf{path: path, value: value, tag: f.Tag})
		}
	}
}

// keyOf is a field's name in the file.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// set gives the key the value that text spells: durations need a unit, lists
// have commas.
func (l leaf) set(text string) error {
	v := l.value
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		if err := setValue(fresh.Elem(), text); err != nil {
			return err
		}
		v.Set(fresh)
		return nil
	}
	return setValue(v, text)
}

func setValue(v reflect.Value, text string) error {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case bool:
		b, err := strconv.ParseBool(strings.TrimSpace(text))
		if err != nil {
			return spokenf("%q n'est ni true ni false", "%q is neither true nor false", text)
		}
		v.SetBool(b)
	case int:
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return spokenf("%q n'est pas un nombre entier", "%q is not a whole number", text)
		}
		v.SetInt(int64(n))
	case float64:
		x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return spokenf("%q n'est pas un nombre", "%q is not a number", text)
		}
		v.SetFloat(x)
	case time.Duration:
		d, err := parseDuration(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
	case []string:
		v.Set(reflect.ValueOf(splitList(text)))
	default:
		return fmt.Errorf("cannot be set: type %s", v.Type())
	}
	return nil
}

// parseDuration refuses a number without a unit: nobody knows whether 20 means
// seconds or minutes, and a hold a thousand times too short is dangerous.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	if _, numeric := strconv.ParseFloat(text, 64); numeric == nil {
		return 0, spokenf("%[1]q n'a pas d'unité : écrire %[1]ss, %[1]sm ou %[1]sh", "%[1]q has no unit: write %[1]ss, %[1]sm or %[1]sh", text)
	}
	return 0, spokenf("%q n'est pas une durée : l'écrire comme 3s, 20m ou 24h", "%q is not a duration: write it as 3s, 20m or 24h", text)
}

// splitList takes "a,b" and "[a, b]".
func splitList(text string) []string {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	list := []string{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.Trim(strings.TrimSpace(item), `"'`); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// growAccounts makes room for the index that a key of a list names: accounts<sep>N<sep>...,
// and the doors' lists. Other keys change nothing.
func growAccounts(c *Config, key, sep string) error {
	for _, list := range []struct {
		path, are string
		to        func(n int)
	}{
		{"accounts", "accounts", func(n int) { c.Accounts = grown(c.Accounts, n) }},
		{"doors.files", "folders", func(n int) { c.Doors.Files = grown(c.Doors.Files, n) }},
		{"doors.consolidated", "receiving places", func(n int) { c.Doors.Consolidated = grown(c.Doors.Consolidated, n) }},
		{"doors.wwks2", "robots", func(n int) { c.Doors.WWKS2 = grown(c.Doors.WWKS2, n) }},
	} {
		rest, ok := strings.CutPrefix(strings.ToLower(key), strings.ReplaceAll(list.path, ".", sep)+sep)
		if !ok {
			continue
		}
		index, _, _ := strings.Cut(rest, sep)
		n, err := strconv.Atoi(index)
		if err != nil || n < 0 {
			return nil // an unknown key, which is reported as such
		}
		if n >= maxAccounts {
			return spokenf("%[1]s.%[2]d : au plus %[3]d", "%s.%d: at most %d %s", list.path, n, maxAccounts, list.are)
		}
		list.to(n)
	}
	return nil
}

// grown returns list with room for index n.
func grown[T any](list []T, n int) []T {
	for len(list) <= n {
		list = append(list, *new(T))
	}
	return list
}
