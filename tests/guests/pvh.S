/* The Xen PVH image: entered in 32-bit mode without paging, by its note. */
    .section .note.xen, "a", @note
    .balign 4
    .long 4, 4, 18          /* PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .text
    .global _start
_start:
    cld
    mov $stack_top, %esp
    push %ebx               /* the start info */
    call pvh_main

    .bss
    .balign 4096
    .global hypercall_page
hypercall_page:
    .skip 4096
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits
