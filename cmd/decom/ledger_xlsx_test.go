package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"decom/worker/scan"
)

// TestAWorkbookHoldsTheLedgerAsText: every value as it is on the ledger, in a cell that no
// spreadsheet takes for a number or a formula.
func TestAWorkbookHoldsTheLedgerAsText(t *testing.T) {
	o := newOffice(t)
	of := o.append(opened(t, "CB", scan.Supply, "001", "=2+3"))
	o.append(answered(t, "CB", of, answerNobody, "001", "=2+3"))
	rows, cell := sheetOf(t, []byte(o.run(exitFine, "ledger", "export", "--format", "xlsx", "--serials").stdout), "Sheet1")
	if len(rows) != 5 || !slices.Equal(rows[0], exportColumns) {
		t.Fatalf("%q", rows)
	}
	for _, want := range []struct{ at, value string }{{"J2", "03400930000007"}, {"K2", "001"}, {"K3", "=2+3"}, {"A2", "1"}} {
		value, formula, kind := cell(want.at)
		if value != want.value || formula != "" || kind != excelize.CellTypeInlineString {
			t.Errorf("%s: %q (formula %q, type %v), want the text %q", want.at, value, formula, kind, want.value)
		}
	}
	rows, _ = sheetOf(t, []byte(o.run(exitFine, "ledger", "export", "--format", "xlsx", "--since", "2999-01-01").stdout), "Sheet1")
	if len(rows) != 1 {
		t.Errorf("nothing since then: %q", rows)
	}
}

// TestAFullSheetGoesOnOnTheNext: a sheet holds 1,048,576 rows, a ledger more.
func TestAFullSheetGoesOnOnTheNext(t *testing.T) {
	var out bytes.Buffer
	write, end := xlsxLines(&out, 3)
	for i := range 5 {
		l := exportLine{}
		l.Seq = uint64(i + 1)
		if err := write(&l); err != nil {
			t.Fatal(err)
		}
	}
	if err := end(nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"Sheet1", "Sheet2", "Sheet3"} {
		rows, _ := sheetOf(t, out.Bytes(), name)
		for _, r := range rows {
			got = append(got, r[0])
		}
	}
	if want := "seq 1 2 seq 3 4 seq 5"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAFailedExportLeavesNothing: no half workbook, no temporary file with serials.
func TestAFailedExportLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	write, end := xlsxLines(&out, sheetRows)
	l := exportLine{Batch: strings.Repeat("x", 30_000)} // excelize moves to a file from 16 MiB on
	for range 800 {
		if err := write(&l); err != nil {
			t.Fatal(err)
		}
	}
	if files, _ := filepath.Glob(dir + "/*"); len(files) == 0 {
		t.Fatal("no temporary file: this test proves nothing")
	}
	failed := errors.New("NATS is down")
	if err := end(failed); !errors.Is(err, failed) || out.Len() != 0 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("left: %v, %v", files, err)
	}
}

// sheetOf reads a sheet's rows, and gives a look at one cell's value, formula and type.
func sheetOf(t *testing.T, workbook []byte, name string) ([][]string, func(at string) (string, string, excelize.CellType)) {
	t.Helper()
	f, err := excelize.OpenReader(bytes.NewReader(workbook))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	rows, err := f.GetRows(name)
	if err != nil {
		t.Fatal(err)
	}
	return rows, func(at string) (string, string, excelize.CellType) {
		value, err1 := f.GetCellValue(name, at)
		formula, err2 := f.GetCellFormula(name, at)
		kind, err3 := f.GetCellType(name, at)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		return value, formula, kind
	}
}
