/* The virtio image: multiboot header, Solo5's notes, entry and the clock's interrupt. */
    .section .head, "a"
    .balign 4
    .long 0x1BADB002, 0, -0x1BADB002

/* so that the image says what it is: Solo5's ABI note (virtio is 3) and its manifest */
    .section .note.solo5.abi, "a", @note
    .balign 4
    .long 6, 16, 0x31494241
    .asciz "Solo5"
    .balign 4
    .long 3, 1, 0, 0

    .section .note.solo5.manifest, "a", @note
    .balign 4
    .long 6, 12 + 2 * 104, 0x3154464d
    .asciz "Solo5"
    .balign 4
    .long 0, 1, 2           /* padding, version, entries */
    .fill 68                /* the reserved first entry */
    .long 1 << 30
    .fill 32
1:  .ascii "service"        /* a network */
    .fill 68 - (. - 1b)
    .long 2
    .fill 32

    .text
    .global _start
_start:
    mov $stack_top, %esp
    push %ebx               /* multiboot's tables */
    call multiboot_main
1:  cli
    hlt
    jmp 1b

    .global tick_interrupt
tick_interrupt:
    push %eax
    incl ticks
    mov $0x20, %al          /* end of interrupt */
    outb %al, $0x20
    pop %eax
    iret

    .bss
    .balign 16
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits
