package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/xuri/excelize/v2"
)

// sheetRows is how many rows a sheet of XLSX holds.
const sheetRows = excelize.TotalRows

// xlsxLines writes a workbook with the CSV's columns. Every cell is text, so that a spreadsheet
// keeps leading zeros and 14 digits as they are, and runs nothing as a formula. What does not fit
// on one sheet of perSheet rows goes on on the next, under the same head. Nothing reaches w
// before end; excelize keeps large sheets in temporary files until then. end is to be called
// once, on failures, too: it removes them.
func xlsxLines(w io.Writer, perSheet int) (write func(*exportLine) error, end func(failed error) error) {
	book := excelize.NewFile()
	var sheet *excelize.StreamWriter
	sheets, row := 0, perSheet
	put := func(cells []string) error {
		row++
		values := make([]any, len(cells))
		for i, c := range cells {
			values[i] = c
		}
		return sheet.SetRow(fmt.Sprintf("A%d", row), values)
	}
	next := func() error {
		if sheet != nil {
			if err := sheet.Flush(); err != nil {
				return err
			}
		}
		sheets, row = sheets+1, 0
		name := fmt.Sprintf("Sheet%d", sheets) // the first one is there
		if _, err := book.NewSheet(name); err != nil {
			return err
		}
		var err error
		if sheet, err = book.NewStreamWriter(name); err != nil {
			return err
		}
		return put(exportColumns)
	}
	write = func(l *exportLine) error {
		if row >= perSheet {
			if err := next(); err != nil {
				return err
			}
		}
		return put(l.cells(asIs))
	}
	end = func(failed error) (err error) {
		defer func() { err = errors.Join(err, book.Close()) }()
		if failed != nil {
			return failed
		}
		if sheet == nil {
			if err := next(); err != nil {
				return err
			}
		}
		if err := sheet.Flush(); err != nil {
			return err
		}
		return book.Write(w)
	}
	return write, end
}
