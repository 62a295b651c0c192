// Odoogen fills a folder with session files as Odoo writes them:
//
//	go run ./importer/internal/odoogen/odoogen DIR COUNT
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/redsession/redsession/importer/internal/odoogen"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: odoogen DIR COUNT")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "odoogen: COUNT is no number")
		os.Exit(2)
	}
	made, err := odoogen.Generate(os.Args[1], n, 1)
	if err != nil {
		fmt.Fprintln(os.Stderr, "odoogen:", err)
		os.Exit(1)
	}
	made.SIDs = nil
	fmt.Printf("%+v\n", made)
}
