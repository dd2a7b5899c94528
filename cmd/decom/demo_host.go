package main

const demoPassword = "Demo-Pass-2026"
